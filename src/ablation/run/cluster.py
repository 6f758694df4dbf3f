"""Workers on other machines: those of a Dask cluster, which is asked through its scheduler.

Dask carries errands, characters and answers, and knows who is there. What a number depends on is
looked at where it is computed, by `ablation.run.cluster_worker`.
"""

import asyncio
import logging
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from ablation.base.console import console
from ablation.base.errors import AGAIN, UserError, one_line
from ablation.data.characters import Characters
from ablation.run.cluster_worker import Nature, Refusal, introduce, serve
from ablation.run.hardware import Computer, Hardware
from ablation.run.job import Errand

if TYPE_CHECKING:
    from distributed import Client, Future

# Dask's own.
SCHEDULER_VARIABLE = "DASK_SCHEDULER_ADDRESS"
CONNECT_SECONDS = 10
LOOK_SECONDS = 1.0  # between two looks at who is there
ALLOWED_FAILURES = 3  # as many workers may die with a trial, as Dask has it; one more is too many
PATIENCE = 3600.0  # seconds without a worker, once one has left with a trial
OR_HERE = f"or unset {SCHEDULER_VARIABLE} to train on this machine"


def work_off(
    errands: Iterator[Errand],
    address: str,
    hardware: Hardware,
    find: Callable[[], Characters],
) -> Iterator[tuple[Errand, bytes]]:
    """Have the workers of a cluster carry out all errands; yields what comes of each.

    Args:
        errands: asked for the next one when a worker is free, after the consumer has its answer.
        address: the scheduler's.
        hardware: what every worker has to compute with.
        find: asked for the characters when the first worker lacks them.

    Raises:
        UserError: nobody answers at the address, a worker is not as it should be, or one after the
            other died with the same errand.
        RuntimeError: anything else that an errand raised, with the traceback.
    """
    with _connected(address) as client:
        staff = _Staff(client, address, hardware, mixed=hardware.elsewhere is not None)
        staff.greet()
        desk = _Desk(staff, find)
        while True:
            for worker in staff.fit() - desk.busy():
                if (errand := desk.next(errands)) is None:
                    break
                desk.give(errand, worker)
            if not desk.busy() and not desk.waits_for_a_worker(errands):
                return
            desk.take_back()
            desk.gives_up_on_the_dead()
            if answered := desk.wait():
                yield answered


def one_kind(address: str, hardware: Hardware) -> Hardware:
    """What a stage is computed with: that kind of machine of which most workers are.

    Differences between trials are paired: they must not be differences of arithmetic.

    Raises:
        UserError: nobody answers at the address, or a worker is not as it should be.
    """
    with _connected(address) as client:
        staff = _Staff(client, address, hardware, mixed=True)
        while not (workers := staff.introduce()):
            staff.fit()
            time.sleep(LOOK_SECONDS)
    own = Computer.here(hardware.device).arithmetic
    computers = {nature.computer.arithmetic: nature.computer for nature in workers.values()}
    count = Counter(nature.computer.arithmetic for nature in workers.values())
    most = max(count, key=lambda kind: (count[kind], kind == own, kind))
    return replace(hardware, elsewhere=computers[most])


@contextmanager
def _connected(address: str) -> "Iterator[Client]":
    try:
        from distributed import Client
    except ImportError:
        raise UserError(
            f"{SCHEDULER_VARIABLE} is set, but distributed is not installed; "
            f"`pip install '.[cluster]'`, {OR_HERE}"
        ) from None
    for name in logging.root.manager.loggerDict:
        if name.startswith("distributed"):  # what goes wrong is said here
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        asyncio.run(_reach(address))  # a client that cannot leaves threads and tracebacks behind
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last two are of TLS
        raise UserError(
            f"{SCHEDULER_VARIABLE}: {address}: no Dask scheduler answers there "
            f"({one_line(error)}); start one with `dask scheduler`, {OR_HERE}"
        ) from None
    with client:
        yield client


async def _reach(address: str) -> None:
    """Ask who is there.

    Raises:
        OSError: nobody, or no scheduler.
    """
    from distributed.comm.core import connect
    from distributed.core import send_recv
    from distributed.security import Security

    arguments = Security().get_connection_args("client")
    async with asyncio.timeout(CONNECT_SECONDS + 1):  # the dashboard would never answer
        comm = await connect(address, timeout=CONNECT_SECONDS, **arguments)
        try:
            kind = (await send_recv(comm, op="identity"))["type"]
        finally:
            comm.abort()
    if kind != "Scheduler":
        raise OSError(f"it is a {kind.lower()}'s address")


@dataclass
class _Staff:
    """The workers of a cluster, as they were when somebody last looked.

    mixed: whether other processors or GPUs than the study's are passed over, and not refused.
    present: the status of each, by its address; others: those that are passed over.
    """

    client: "Client"
    address: str
    hardware: Hardware
    mixed: bool
    present: dict[str, str] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)
    looked: float = -math.inf
    waiting_since: float | None = None  # and has said so

    @cached_property
    def wanted(self) -> Nature:
        return Nature.wanted(self.hardware)

    def greet(self) -> None:
        """Meet all who are there, and say how many can be given something."""
        fit = self.introduce().keys() - self.others
        console.print(f"workers at {self.address}: {len(fit)}, {self.client.dashboard_link}")

    def fit(self) -> set[str]:
        """The addresses of those that may be given an errand; a newcomer looks at itself then."""
        if time.monotonic() - self.looked >= LOOK_SECONDS:
            self.look()
        mine = {worker: self.present[worker] for worker in self.present.keys() - self.others}
        fit = {worker for worker, status in mine.items() if status == "running"}
        if fit:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = time.monotonic()
            why = ", ".join(f"{worker} is {status}" for worker, status in sorted(mine.items()))
            said = f" ({why}; memory ran short there)" if "paused" in mine.values() else ""
            if passed_over := self.present.keys() & self.others:
                said += f" ({len(passed_over)} of another kind than {self.wanted.computer.name})"
            console.print(f"no worker at {self.address}{said}: waiting for one", style="italic")
        return fit

    def look(self) -> None:
        """See who is there.

        Raises:
            UserError: the scheduler has gone.
        """
        with self.reaching() as client:
            # Not `scheduler_info`, which a thread of the client empties now and then.
            ask = client.scheduler.identity  # type: ignore[union-attr]  # None: it has gone
            found = client.sync(ask, n_workers=-1)
        self.present = {worker: about["status"] for worker, about in found["workers"].items()}
        self.others &= self.present.keys()  # another one may come to the same address
        self.looked = time.monotonic()

    def introduce(self) -> dict[str, Nature]:
        """Ask all workers who they are; those that compute otherwise are refused or passed over.

        Raises:
            UserError: a line for each worker that this study cannot use, or the scheduler has gone.
        """
        with self.reaching() as client:
            found = client.run(introduce, self.hardware.device, on_error="return")
        natures, refused = {}, []
        for worker, answer in found.items():
            if isinstance(answer, OSError):
                continue  # it has left
            if isinstance(answer, Exception):
                refused.append(f"{worker}: cannot run this project ({one_line(answer)})")
                continue
            host, natures[worker] = answer
            faults = natures[worker].faults(self.wanted)
            if not natures[worker].computes_as(self.wanted):
                self.others.add(worker)
                if not self.mixed:
                    faults.append(_difference(natures[worker].computer, self.wanted.computer))
            if faults:
                refused.append(f"{worker} on {host}: {', '.join(faults)}")
        if refused:
            raise UserError(
                "these workers would not compute what this machine computes; bring them up to "
                "date and start them again, or stop them:\n  " + "\n  ".join(refused)
            )
        return natures

    @contextmanager
    def reaching(self) -> "Iterator[Client]":
        """The client, to ask the scheduler for something.

        Raises:
            UserError: the scheduler has gone.
        """
        try:
            yield self.client
        except Exception as error:
            if isinstance(error, OSError) or self.client.status != "running":
                raise self.gone() from None
            raise

    def gone(self) -> UserError:
        return UserError(
            f"{SCHEDULER_VARIABLE}: {self.address}: the Dask scheduler has gone, or was restarted; "
            f"start it and its workers again and {AGAIN}"
        )


@dataclass
class _Desk:
    """The errands that workers have, and those that came back without an answer.

    Each is given to one worker and no other. Where Dask may choose from several, and all of them
    leave, it waits for one of these to return, though others have come.

    died: by an errand's key, the workers that died with it; sent: the characters, as Dask has them.
    """

    staff: _Staff
    find: Callable[[], Characters]
    running: "dict[Future[Any], tuple[Errand, str]]" = field(default_factory=dict)
    done: "SimpleQueue[Future[Any]]" = field(default_factory=SimpleQueue)
    again: deque[Errand] = field(default_factory=deque)
    died: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    sent: "Future[Any] | None" = None

    def busy(self) -> set[str]:
        return {worker for _, worker in self.running.values()}

    def next(self, errands: Iterator[Errand]) -> Errand | None:
        return self.again.popleft() if self.again else next(errands, None)

    def waits_for_a_worker(self, errands: Iterator[Errand]) -> bool:
        """Whether there is an errand left, though nobody is there to take it."""
        if errand := self.next(errands):
            self.again.append(errand)
        return errand is not None

    def give(self, errand: Errand, worker: str, **characters: "Future[Any]") -> None:
        key = f"{errand.work}-{errand.trial.model}-{uuid4().hex}"  # Dask shows what is before it
        with self.staff.reaching() as client:
            future = client.submit(
                serve, errand, self.staff.wanted, **characters, key=key, workers=[worker]
            )
        self.running[future] = errand, worker
        future.add_done_callback(self.done.put)

    def take_back(self) -> None:
        """What those have who are not there any more.

        Raises:
            UserError: it is not the first time that an errand comes back like this.
        """
        for future, (errand, worker) in [*self.running.items()]:
            if worker not in self.staff.present:
                del self.running[future]
                future.cancel()
                self.has_died(worker, errand)

    def has_died(self, worker: str, errand: Errand) -> None:
        died = self.died[errand.key]
        died.append(worker)
        if len(died) > ALLOWED_FAILURES:
            raise UserError(
                f"{len(died)} workers died one after the other with the same trial "
                f"({', '.join(died)}), probably because memory ran out there (their logs say "
                f"more); start fewer of them on a machine and {AGAIN}"
            )
        console.print(f"worker {worker} has left with a trial that it had begun", style="italic")
        self.again.append(errand)

    def gives_up_on_the_dead(self) -> None:
        """End, where a trial waits that a worker left with, and no other worker has come for long.

        Raises:
            UserError: it is so.
        """
        since = self.staff.waiting_since
        left = sorted({worker for errand in self.again for worker in self.died[errand.key]})
        if not left or self.running or since is None or time.monotonic() - since <= PATIENCE:
            return
        raise UserError(
            f"no worker at {self.staff.address} for {PATIENCE / 60:.0f} minutes; {', '.join(left)} "
            f"left with a trial, as happens where memory runs out (their logs say more); start "
            f"others, fewer on a machine, and {AGAIN}"
        )

    def wait(self) -> tuple[Errand, bytes] | None:
        """The next answer, if one comes before it is time to look who is there."""
        try:
            future = self.done.get(timeout=LOOK_SECONDS)
        except Empty:
            return None
        if future not in self.running:
            return None  # it was taken back
        errand, worker = self.running.pop(future)
        answer = self.answer(future, worker)
        if isinstance(answer, bytes):
            return errand, answer
        if answer is None:
            self.has_died(worker, errand)
        elif answer is Refusal.UNFIT:
            self.again.append(errand)
            self.staff.introduce()
        else:
            self.give(errand, worker, characters=self.characters())
        return None

    def answer(self, future: "Future[Any]", worker: str) -> bytes | Refusal | None:
        """What a worker says; None where it has died.

        Raises:
            UserError, RuntimeError: as `work_off` says.
        """
        from distributed.scheduler import KilledWorker, NoValidWorkerError

        while True:
            try:
                answer, failed = future.result(timeout=LOOK_SECONDS)
                break
            except TimeoutError:
                self.staff.look()
                if worker not in self.staff.present:  # it was done, and left before it said so
                    return None
            except (KilledWorker, NoValidWorkerError):  # as schedulers may be set up
                return None
            except CancelledError:
                raise self.staff.gone() from None
            except Exception as error:  # it never began
                self.staff.introduce()
                raise UserError(
                    f"{self.staff.address}: the scheduler or a worker cannot run this project "
                    f"({one_line(error)}); install it where they run, start them again and {AGAIN}"
                ) from error
        if failed:
            raise type(failed)(f"worker {worker}: {failed}")
        return answer  # type: ignore[no-any-return]

    def characters(self) -> "Future[Any]":
        """Dask's copy of the characters, which workers fetch from each other.

        As a task, so that it comes from the scheduler again when all that had it have left.
        """
        import dask

        if not self.sent:
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
                self.sent = self.staff.client.submit(
                    _same, self.find(), key=f"characters-{uuid4().hex}"
                )
        return self.sent


def _difference(theirs: Computer, ours: Computer) -> str:
    if theirs.name != ours.name:
        said = f"it computes on {theirs.name}, here {ours.name}"
    else:
        only_one = {*theirs.arithmetic.split()} ^ {*ours.arithmetic.split()}
        said = f"its {theirs.name} has other instructions ({' '.join(sorted(only_one))})"
    return f"{said}; `training.machines: mixed` in params.yaml keeps each stage to one kind"


def _same(characters: Characters) -> Characters:
    return characters
