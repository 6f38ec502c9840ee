import static io.gatling.javaapi.core.CoreDsl.*;

import io.gatling.javaapi.core.ChainBuilder;
import io.gatling.javaapi.core.Session;
import io.gatling.javaapi.core.Simulation;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.stream.Collectors;

/**
 * Users who meet at rendezVous, again and again, and do nothing in between but note when.
 *
 * <p>Properties: users, rounds, seconds (of the simulation at most), result (a file), and shape: "places" has a rendezVous of
 * its own for each round, "loop" one in a loop; with "fails" the first user fails before it comes, and the others come once.
 * What is written when the simulation ends is what early.mjs reads, in nanoseconds, or outcomes.mjs.
 */
public class Meetings extends Simulation {
  private final int users = Integer.getInteger("users");
  private final int rounds = Integer.getInteger("rounds");
  private final String shape = System.getProperty("shape");
  private final long[][] came = new long[users][rounds];
  private final long[][] went = new long[users][rounds];
  private final int[][] passed = new int[2][users];
  private final List<String> events = Collections.synchronizedList(new ArrayList<>());

  private ChainBuilder meeting() {
    return exec(session -> note(session, came, 0, "came")).rendezVous(users).exec(session -> note(session, went, 1, "went"));
  }

  /** A user is in one place at a time, so that nobody else writes what is its own. */
  private Session note(Session session, long[][] notes, int which, String what) {
    int user = (int) session.userId() - 1;
    if (shape.equals("fails")) events.add(what + " " + session.userId());
    notes[user][passed[which][user]++] = System.nanoTime();
    return session;
  }

  private ChainBuilder course() {
    switch (shape) {
      case "places":
        ChainBuilder course = meeting();
        for (int round = 1; round < rounds; round++) course = course.exec(meeting());
        return course;
      case "loop":
        return repeat(rounds).on(meeting());
      case "fails":
        return exec(session -> session.userId() == 1 ? session.markAsFailed() : session).exitHereIfFailed().exec(meeting());
      default:
        throw new IllegalArgumentException("shape: got " + shape + ", allowed are places, loop, fails");
    }
  }

  {
    setUp(scenario("users").exec(course()).injectOpen(atOnceUsers(users))).maxDuration(Long.getLong("seconds"));
  }

  private static String line(long[] notes) {
    return Arrays.stream(notes).mapToObj(note -> note == 0 ? "null" : Long.toString(note)).collect(Collectors.joining(",", "[", "]"));
  }

  @Override
  public void after() {
    List<String> lines = new ArrayList<>(events);
    if (!shape.equals("fails")) {
      for (int user = 0; user < users; user++) lines.add("{\"came\":" + line(came[user]) + ",\"went\":" + line(went[user]) + "}");
    }
    try {
      Files.write(Path.of(System.getProperty("result")), lines);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
