"""Users of Locust who meet by hand, out of what Locust gives: gevent's events within a process, messages between processes.

Within a process those who wait sleep on an event. Over several, a worker tells the master of each arrival by
`send_message`; the master counts, and where all have come it tells all workers, which wake their users. That is the way
of Locust's manual, "Communicating across nodes".

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
    """Counts what users tell of, and says when all have: in the master, or in the only process."""

    def __init__(self, when_all):
        self.counts = {}
        self.when_all = when_all

    def add(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1
        if self.counts[what] == USERS:
            self.when_all(what)


class Rendezvous:
    """Where the users of a process wait for all users of the test."""

    def __init__(self, tell):
        self.tell = tell
        self.rounds = [Event() for _ in range(ROUNDS)]

    def meet(self, number):
        self.tell(number)
        self.rounds[number].wait()

    def open(self, number):
        self.rounds[number].set()


RENDEZVOUS = None
TELL = None
OVER = -1  # what a user tells after its last round


@events.init.add_listener
def connect(environment, **_):
    """Gives each process its part."""
    global RENDEZVOUS, TELL
    runner = environment.runner

    if isinstance(runner, MasterRunner):
        def go(what):
            if what == OVER:
                runner.quit()
            else:
                runner.send_message("all-came", what)

        count = Count(go)
        runner.register_message("told", lambda environment, msg, **_: count.add(msg.data))
        return

    if isinstance(runner, WorkerRunner):
        TELL = lambda what: runner.send_message("told", what)
        RENDEZVOUS = Rendezvous(TELL)
        runner.register_message("all-came", lambda environment, msg, **_: RENDEZVOUS.open(msg.data))
        return

    TELL = Count(lambda what: runner.quit() if what == OVER else RENDEZVOUS.open(what)).add
    RENDEZVOUS = Rendezvous(TELL)


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
        if FAILS:
            write(f"came {self.name}")
            RENDEZVOUS.meet(0)
            write(f"went {self.name}")
        else:
            came, went = [], []
            for number in range(ROUNDS):
                came.append(now())
                RENDEZVOUS.meet(number)
                went.append(now())
            write(json.dumps({"came": came, "went": went}, separators=(",", ":")))
        TELL(OVER)
        raise StopUser()
