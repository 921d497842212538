"""What goes wrong: one function for each kind of fault, scripted by a seeded generator, against real processes.

A fault strikes while a load is on and may return with things broken: the round heals the ground afterwards.
"""

from __future__ import annotations

import time

from deploy.databases import SERVICES
from services.runtime.failpoints import RuntimeFailpoint
from tests.faults.crowds import blocked_outbox, crowd, left_behind, many_doors, many_notifiers, zombie
from tests.faults.ground import SESSION_SECONDS
from tests.faults.proxy import Weather
from tests.faults.sinks import Mood
from tests.faults.strike import CONSUMERS, Fault, Strike, named_places, until
from tests.faults.upheaval import clock_skew, redelivery, restored_backup, rolling_upgrade


def calm(_: Strike) -> None:
    """Nothing goes wrong: what is found here is no fault's doing."""


def kill_service(strike: Strike) -> None:
    """SIGKILL to services at any moment, several at once too."""
    for _ in strike.times(2, 6):
        strike.wait(0.1, 1.0)
        victims = strike.chance.sample(SERVICES, strike.chance.choice((1, 1, 2)))
        for victim in victims:
            strike.ground.kill(victim)
        strike.wait(0.0, 0.6)
        for victim in victims:
            strike.ground.start(victim)


def kill_kafka(strike: Strike) -> None:
    """SIGKILL to the broker, which comes back after a while."""
    for _ in strike.times(1, 3):
        strike.wait(0.1, 1.0)
        strike.ground.kill("kafka")
        strike.wait(0.2, 3.0)
        strike.ground.start_patiently("kafka")


def kill_postgres(strike: Strike) -> None:
    """SIGKILL to PostgreSQL with all its sessions."""
    for _ in strike.times(2, 5):
        strike.wait(0.1, 1.0)
        strike.ground.kill("postgres")
        strike.wait(0.0, 2.0)
        strike.ground.start_patiently("postgres")


def kill_during_commit(strike: Strike) -> None:
    """A process stands right before COMMIT while its session, the server, or the answer on its way back is lost."""
    ground = strike.ground
    for _ in strike.times(2, 6):
        service = strike.chance.choice(SERVICES)
        way = strike.chance.choice(("session", "server", "answer"))
        before = ground.hits()[service, RuntimeFailpoint.COMMITTING, "stall"]
        ground.order(service, RuntimeFailpoint.COMMITTING, "stall", on=strike.chance.randint(1, 4), seconds=0.7)
        if not until(lambda: ground.hits()[service, RuntimeFailpoint.COMMITTING, "stall"] > before, 5.0):  # noqa: B023 - called at once
            continue
        if way == "session":
            ground.end_sessions(f"{service}%", active=True)
        elif way == "server":
            ground.kill("postgres")
            ground.start_patiently("postgres")
        else:
            # COMMIT arrives and is done; that it was done is never heard of
            ground.postgres_proxy.turn(Weather(cut=1.0))
            time.sleep(1.0)
            ground.postgres_proxy.turn(Weather())


def pause_service(strike: Strike) -> None:
    """SIGSTOP to a service past its session: it wakes up and believes that it still owns what others have by then."""
    ground = strike.ground
    victim = strike.chance.choice(SERVICES)
    if strike.chance.random() < 0.5:
        place = strike.chance.choice((RuntimeFailpoint.BATCH_LOCKED, RuntimeFailpoint.RELAY_SENT))
        ground.order(victim, place, "stop", on=strike.chance.randint(1, 3))
        until(lambda: bool(ground.hits()[victim, place, "stop"]), 3.0)
    ground.pause(victim)
    ground.start(f"{victim}-2")
    time.sleep(strike.long_enough(SESSION_SECONDS))
    ground.resume(victim)
    strike.wait(0.5, 2.0)


def pause_servers(strike: Strike) -> None:
    """SIGSTOP to Kafka or PostgreSQL: they hold every connection and answer nothing."""
    for server in strike.chance.sample(("kafka", "postgres"), 2 if strike.thorough else 1):
        strike.wait(0.0, 0.5)
        strike.ground.pause(server)
        time.sleep(strike.long_enough(SESSION_SECONDS) if strike.thorough else 3.0)
        strike.ground.resume(server)


def failpoints(strike: Strike) -> None:
    """SIGKILL at each named place, before and after every durable effect."""
    ground = strike.ground
    places = [(service, place) for service, named in named_places().items() for place in named]
    strike.chance.shuffle(places)
    orders = places if strike.thorough else places[:6]
    for service, place in orders:
        before = ground.hits()[service, place, "kill"]
        ground.order(service, place, "kill", on=strike.chance.choice((1, 1, 2, 3)))
        if not until(lambda: ground.hits()[service, place, "kill"] > before or not strike.loaded(), 3.0):  # noqa: B023 - called at once
            continue
        until(lambda: not ground.system.runs(service), 2.0)  # noqa: B023 - called at once
        ground.withdraw_orders()
        ground.start(service)


def kafka_unreachable(strike: Strike) -> None:
    """The way to the broker: refused, silent, slow, or cut in the middle of answers."""
    _weather(strike, "kafka")


def postgres_unreachable(strike: Strike) -> None:
    """The way to PostgreSQL: refused, silent, slow, or cut in the middle of answers."""
    _weather(strike, "postgres")


def _weather(strike: Strike, server: str) -> None:
    proxy = strike.ground.kafka_proxy if server == "kafka" else strike.ground.postgres_proxy
    kinds = [Weather(refuse=True), Weather(hold=True), Weather(delay=0.05), Weather(cut=0.1)]
    strike.chance.shuffle(kinds)
    for weather in kinds[: len(strike.times(3, 4))]:
        proxy.turn(weather)
        strike.wait(0.5, 20.0 if strike.thorough and weather.hold else 2.0)
        proxy.turn(Weather())
        strike.wait(0.0, 0.7)


def half_open(strike: Strike) -> None:
    """Connections to both servers lead nowhere, and nobody is told."""
    ground = strike.ground
    proxies = [ground.kafka_proxy, ground.postgres_proxy]
    strike.chance.shuffle(proxies)
    for proxy in proxies[: len(strike.times(1, 2))]:
        strike.wait(0.1, 1.0)
        proxy.leave_half_open()
        if not strike.thorough:
            # what stands between, forgets the connections at last
            strike.wait(2.0, 4.0)
            proxy.reset_all()


def disk_full(strike: Strike) -> None:
    """No byte can be written where PostgreSQL, or Kafka, keeps its data."""
    if not strike.ground.small_disks:
        return
    for server in strike.chance.sample(("postgres", "kafka"), 2 if strike.thorough else 1):
        strike.wait(0.1, 0.5)
        strike.ground.fill(server)
        strike.wait(2.0, 6.0)
        strike.ground.empty(server)
        strike.ground.start_patiently(server)


def rebalance_storm(strike: Strike) -> None:
    """Replicas come and go under load, politely and by SIGKILL."""
    ground = strike.ground
    services = CONSUMERS if strike.thorough else (strike.chance.choice(CONSUMERS),)
    for _ in strike.times(1, 3):
        for service in services:
            for number in (2, 3):
                ground.start(f"{service}-{number}")
        strike.wait(2.0, 5.0)
        for service in services:
            going = strike.chance.choice((f"{service}-2", f"{service}-3", service))
            if strike.chance.random() < 0.5 or not ground.system.runs(going):
                ground.kill(going)
            else:
                ground.system.stop_part(going)
        strike.wait(1.0, 3.0)
        for service in services:
            ground.start(service)


def receivers(strike: Strike) -> None:
    """Mail server and web hooks fail, forget to answer, are slow or dead, until after the load."""
    ground = strike.ground
    moods = [Mood.FAILING, Mood.DEAD, strike.chance.choice((Mood.FORGETFUL, Mood.SLOW))]
    strike.chance.shuffle(moods)
    began, turn = time.monotonic(), 0
    # silences are told when everybody has come past them: not before the load is over
    while strike.loaded() and time.monotonic() - began < strike.at_most(20.0):
        ground.sinks.mood = moods[turn % len(moods)]
        turn += 1
        strike.wait(1.0, 3.0)
        if strike.chance.random() < 0.3:
            ground.kill("notifier")
            ground.start("notifier")
    for mood in moods[:2]:
        ground.sinks.mood = mood
        strike.wait(2.0, 4.0)


FAULTS: dict[str, Fault] = {
    "calm": calm,
    "kill-service": kill_service,
    "kill-kafka": kill_kafka,
    "kill-postgres": kill_postgres,
    "kill-during-commit": kill_during_commit,
    "pause-service": pause_service,
    "pause-servers": pause_servers,
    "failpoints": failpoints,
    "kafka-unreachable": kafka_unreachable,
    "postgres-unreachable": postgres_unreachable,
    "half-open": half_open,
    "disk-full": disk_full,
    "rebalance-storm": rebalance_storm,
    "receivers": receivers,
    "redelivery": redelivery,
    "rolling-upgrade": rolling_upgrade,
    "clock-skew": clock_skew,
    "restored-backup": restored_backup,
    "crowd": crowd,
    "many-notifiers": many_notifiers,
    "many-doors": many_doors,
    "blocked-outbox": blocked_outbox,
    "zombie": zombie,
    "left-behind": left_behind,
}
