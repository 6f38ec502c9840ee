"""Users of Locust who meet by hand, in one process or in several.

Those who wait sleep on an event of gevent. A user tells of its arrival by `send_message`; the master counts, and where all
have come it tells all workers, which wake their users. That is the way of Locust's manual, "Communicating across nodes".
Where there is one process alone, it gets its own messages.

Variables: USERS and ROUNDS; FAILS=yes: the first user fails before it comes, and the others come once; NOTES, a folder,
into which each process with users writes what early.mjs and outcomes.mjs read.
"""

import json
import os
import time

from gevent.event import Event
from locust import User, events, task
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

USERS = int(os.environ["USERS"])
ROUNDS = int(os.environ["ROUNDS"])
FAILS = os.environ["FAILS"] == "yes"
NOTES = os.path.join(os.environ["NOTES"], f"notes-{os.getpid()}")


def now():
    """Milliseconds of a clock that all processes of the machine share."""
    return time.monotonic_ns() / 1e6


def write(line):
    with open(NOTES, "a", encoding="utf-8") as notes:
        notes.write(line + "\n")


class Count:
    """Counts, in the master, what users tell of, and tells all workers once all have."""

    def __init__(self, runner):
        self.runner = runner
        self.counts = {}

    def add(self, environment, msg, **_):
        what = msg.data
        self.counts[what] = self.counts.get(what, 0) + 1
        if self.counts[what] < USERS:
            return
        if what == OVER:
            self.runner.quit()
        else:
            self.runner.send_message("all-came", what)


class Rendezvous:
    """Where the users of a worker wait for all users of the test."""

    def __init__(self, runner):
        self.runner = runner
        self.rounds = [Event() for _ in range(ROUNDS)]

    def meet(self, number):
        self.runner.send_message("came", number)
        self.rounds[number].wait()

    def open(self, environment, msg, **_):
        self.rounds[msg.data].set()


OVER = -1  # what a user tells after its last round


@events.init.add_listener
def connect(environment, **_):
    """Gives each process its part; one that is alone has both."""
    runner = environment.runner
    if not isinstance(runner, WorkerRunner):
        runner.register_message("came", Count(runner).add)
    if not isinstance(runner, MasterRunner):
        environment.rendezvous = Rendezvous(runner)
        runner.register_message("all-came", environment.rendezvous.open)


class Visitor(User):
    made = 0

    def on_start(self):
        Visitor.made += 1
        worker = getattr(self.environment.runner, "worker_index", 0)
        self.name = f"{worker}.{Visitor.made}"
        if FAILS and self.name == "0.1":
            raise RuntimeError("the login failed")

    @task
    def visit(self):
        rendezvous = self.environment.rendezvous
        if FAILS:
            write(f"came {self.name}")
            rendezvous.meet(0)
            write(f"went {self.name}")
        else:
            came, went = [], []
            for number in range(ROUNDS):
                came.append(now())
                rendezvous.meet(number)
                went.append(now())
            write(json.dumps({"came": came, "went": went}, separators=(",", ":")))
        rendezvous.runner.send_message("came", OVER)
        raise StopUser()
