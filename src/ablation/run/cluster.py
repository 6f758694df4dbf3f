"""An executor that runs jobs on a Dask cluster.

Dask transports jobs, characters and results, and tracks the workers. Each worker checks that its
results will match, in `ablation.run.cluster_worker`.

Why not by means of Dask's own interfaces:

- `as_completed` has a timeout for the whole iteration, but none for the next future. Here a wait
  ends after `POLL_SECONDS`, so that jobs of workers that have left are requeued, their deaths are
  counted per job, and the study gives up after `PATIENCE`.
- `resources` are labels that a worker is started with, not what it computes with; a task for which
  no worker with the resource is left waits without limit.
- A `WorkerPlugin` whose `setup` fails on a worker that joins later is logged there, and the worker
  still receives tasks. Here every job carries the required `Environment`, and a worker that differs
  returns the job untrained.
"""

import asyncio
import logging
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import uuid4

from ablation.base.console import console
from ablation.base.errors import AGAIN, UserError, one_line
from ablation.data.characters import Characters
from ablation.run import result_cache
from ablation.run.cluster_worker import Environment, Refusal, describe_worker, run_job
from ablation.run.hardware import Computer, Hardware
from ablation.run.job import TrainingJob

if TYPE_CHECKING:
    from distributed import Client, Future

# Dask's own.
SCHEDULER_VARIABLE = "DASK_SCHEDULER_ADDRESS"
CONNECT_SECONDS = 10
POLL_SECONDS = 1.0  # polling interval for the list of workers
ALLOWED_FAILURES = 3  # workers that may die with the same trial; Dask's default
PATIENCE = 3600.0  # seconds to wait for a worker, after one has left while running a trial
OR_HERE = f"or unset {SCHEDULER_VARIABLE} to train on this machine"


def most_common_hardware(address: str, hardware: Hardware) -> Hardware:
    """Choose the hardware for a stage: the kind that most workers of the cluster have.

    Trials of a stage are compared in pairs, so all of them must use the same arithmetic.

    Raises:
        UserError: the scheduler cannot be reached, or a worker is unsuitable.
    """
    with _connected(address) as client:
        workers = _Workers(client, address, hardware, mixed=True)
        while not (environments := workers.check()):
            workers.available()
            time.sleep(POLL_SECONDS)
    own = Computer.here(hardware.device).arithmetic
    computers = {each.computer.arithmetic: each.computer for each in environments.values()}
    count = Counter(each.computer.arithmetic for each in environments.values())
    most = max(count, key=lambda kind: (count[kind], kind == own, kind))
    return replace(hardware, remote=computers[most])


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
        if name.startswith("distributed"):  # errors are reported here
            logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        # Checked first, because a client that cannot connect leaves threads and tracebacks behind.
        # In a thread, because this one may already run an event loop, as in a notebook.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _reach(address)).result()
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, RuntimeError) as error:  # the last two are of TLS
        raise UserError(
            f"{SCHEDULER_VARIABLE}: {address}: no Dask scheduler answers there "
            f"({one_line(error)}); start one with `dask scheduler`, {OR_HERE}"
        ) from None
    with client:
        yield client


async def _reach(address: str) -> None:
    """Check that a scheduler answers at the address.

    Raises:
        OSError: nothing answers, or it is not a scheduler.
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
class _Workers:
    """The workers of a cluster, as of the last poll.

    mixed: skip workers with a different processor or GPU instead of raising an error.
    present: worker address to status; skipped: addresses of the skipped workers.
    """

    client: "Client"
    address: str
    hardware: Hardware
    mixed: bool
    present: dict[str, str] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    polled: float = -math.inf
    waiting_since: float | None = None  # set when waiting was reported

    @cached_property
    def wanted(self) -> Environment:
        return Environment.wanted(self.hardware)

    def report(self) -> None:
        """Check all workers, and print how many can be used."""
        able = self.check().keys() - self.skipped
        console.print(f"workers at {self.address}: {len(able)}, {self.client.dashboard_link}")

    def available(self) -> set[str]:
        """Addresses of the usable workers; new ones check themselves with their first job."""
        if time.monotonic() - self.polled >= POLL_SECONDS:
            self.poll()
        mine = {worker: self.present[worker] for worker in self.present.keys() - self.skipped}
        available = {worker for worker, status in mine.items() if status == "running"}
        if available:
            self.waiting_since = None
        elif self.waiting_since is None:
            self.waiting_since = time.monotonic()
            why = ", ".join(f"{worker} is {status}" for worker, status in sorted(mine.items()))
            detail = f" ({why}; it is low on memory)" if "paused" in mine.values() else ""
            if skipped := self.present.keys() & self.skipped:
                detail += f" ({len(skipped)} of another kind than {self.wanted.computer.name})"
            console.print(f"no worker at {self.address}{detail}: waiting for one", style="italic")
        return available

    def poll(self) -> None:
        """Poll the scheduler for its workers.

        Raises:
            UserError: the scheduler has gone.
        """
        with self.reaching() as client:
            # Not `scheduler_info`, which a thread of the client clears occasionally.
            ask = client.scheduler.identity  # type: ignore[union-attr]  # None: it has gone
            found = client.sync(ask, n_workers=-1)
        self.present = {worker: about["status"] for worker, about in found["workers"].items()}
        self.skipped &= self.present.keys()  # addresses may be reused
        self.polled = time.monotonic()

    def check(self) -> dict[str, Environment]:
        """Get the environments of all workers; reject or skip those with different arithmetic.

        Raises:
            UserError: names each worker that cannot be used, or the scheduler has gone.
        """
        with self.reaching() as client:
            found = client.run(describe_worker, self.hardware.device, on_error="return")
        environments, refused = {}, []
        for worker, answer in found.items():
            if isinstance(answer, OSError):
                continue  # it has left
            if isinstance(answer, Exception):
                refused.append(f"{worker}: cannot run this project ({one_line(answer)})")
                continue
            host, environments[worker] = answer
            mismatches = environments[worker].mismatches(self.wanted)
            if not environments[worker].computes_as(self.wanted):
                self.skipped.add(worker)
                if not self.mixed:
                    theirs = environments[worker].computer
                    mismatches.append(_difference(theirs, self.wanted.computer))
            if mismatches:
                refused.append(f"{worker} on {host}: {', '.join(mismatches)}")
        if refused:
            raise UserError(
                "these workers would give different results from this machine; update and restart "
                "them, or stop them:\n  " + "\n  ".join(refused)
            )
        return environments

    @contextmanager
    def reaching(self) -> "Iterator[Client]":
        """The client, for requests to the scheduler.

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


class ClusterExecutor:
    """Runs jobs on the workers of a cluster.

    Each job is assigned to a single worker. If Dask could choose among several and all of them
    left, it would wait for one of them to return, even if other workers had joined.

    Args:
        address: of the scheduler.
        hardware: required of every worker.
        load: loads the characters, when a worker first needs them.

    Raises:
        UserError: on entering, the scheduler cannot be reached; later, a worker is unsuitable, the
            scheduler has gone, or several workers died with the same job.
    """

    def __init__(self, address: str, hardware: Hardware, load: Callable[[], Characters]) -> None:
        self._address = address
        self._hardware = hardware
        self._load = load
        self._running: dict[Future[Any], tuple[TrainingJob, str]] = {}  # and the worker's address
        self._done: SimpleQueue[Future[Any]] = SimpleQueue()
        self._waiting: deque[TrainingJob] = deque()  # for a worker
        self._died: dict[str, list[str]] = defaultdict(list)  # with a job, by the job's key
        self._sent: Future[Any] | None = None  # the characters, as Dask has them

    def __enter__(self) -> Self:
        with ExitStack() as stack:  # closes the client if a worker is refused
            client = stack.enter_context(_connected(self._address))
            mixed = self._hardware.remote is not None
            self._workers = _Workers(client, self._address, self._hardware, mixed)
            self._workers.report()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def running(self) -> int:
        return len(self._running) + len(self._waiting)

    @property
    def has_room(self) -> bool:
        return not self._waiting and bool(self._idle())

    def submit(self, job: TrainingJob) -> None:
        self._waiting.append(job)
        self._assign_waiting()

    def next_finished(self) -> tuple[TrainingJob, bytes]:
        while True:
            self._workers.available()  # polls the scheduler
            self._requeue_lost()
            self._assign_waiting()
            self._give_up_on_lost_workers()
            if finished := self._wait():
                job, payload = finished
                result_cache.put(job.key, payload)
                return job, payload

    def _idle(self) -> set[str]:
        return self._workers.available() - {worker for _, worker in self._running.values()}

    def _assign_waiting(self) -> None:
        if self._waiting:
            for worker in self._idle():
                if self._waiting:
                    self._assign(self._waiting.popleft(), worker)

    def _assign(self, job: TrainingJob, worker: str, **characters: "Future[Any]") -> None:
        key = f"{job.work}-{job.trial.model}-{uuid4().hex}"  # Dask's dashboard shows the prefix
        with self._workers.reaching() as client:
            future = client.submit(
                run_job, job, self._workers.wanted, **characters, key=key, workers=[worker]
            )
        self._running[future] = job, worker
        future.add_done_callback(self._done.put)

    def _requeue_lost(self) -> None:
        """Requeue the jobs of workers that have left."""
        for future, (job, worker) in [*self._running.items()]:
            if worker not in self._workers.present:
                del self._running[future]
                future.cancel()
                self._has_died(worker, job)

    def _has_died(self, worker: str, job: TrainingJob) -> None:
        died = self._died[job.key]
        died.append(worker)
        if len(died) > ALLOWED_FAILURES:
            raise UserError(
                f"{len(died)} workers died one after the other with the same trial "
                f"({', '.join(died)}), probably because memory ran out there (see their "
                f"logs); start fewer workers per machine, and {AGAIN}"
            )
        console.print(f"worker {worker} left while running a trial", style="italic")
        self._waiting.append(job)

    def _give_up_on_lost_workers(self) -> None:
        """Give up after waiting too long for a worker to take over a lost job.

        Raises:
            UserError: no worker has joined for `PATIENCE` seconds.
        """
        since = self._workers.waiting_since
        left = sorted({worker for job in self._waiting for worker in self._died[job.key]})
        if not left or self._running or since is None or time.monotonic() - since <= PATIENCE:
            return
        raise UserError(
            f"no worker at {self._address} for {PATIENCE / 60:.0f} minutes; {', '.join(left)} "
            f"left while running a trial, probably because memory ran out there (see their logs); "
            f"start fewer workers per machine, and {AGAIN}"
        )

    def _wait(self) -> tuple[TrainingJob, bytes] | None:
        """The next result, or None if none arrives before the next poll of the workers."""
        try:
            future = self._done.get(timeout=POLL_SECONDS)
        except Empty:
            return None
        if future not in self._running:
            return None  # it was taken back
        job, worker = self._running.pop(future)
        answer = self._answer(future, worker)
        if isinstance(answer, bytes):
            return job, answer
        if answer is None:
            self._has_died(worker, job)
        elif answer is Refusal.UNFIT:
            self._waiting.append(job)
            self._workers.check()
        else:
            self._assign(job, worker, characters=self._characters())
        return None

    def _answer(self, future: "Future[Any]", worker: str) -> bytes | Refusal | None:
        """The value that a worker returned; None if the worker died.

        Raises:
            UserError, RuntimeError: the job raised it, or the worker cannot run it.
        """
        from distributed.scheduler import KilledWorker, NoValidWorkerError

        while True:
            try:
                answer, failed = future.result(timeout=POLL_SECONDS)
                break
            except TimeoutError:
                self._workers.poll()
                if worker not in self._workers.present:  # it left before returning a result
                    return None
            except (KilledWorker, NoValidWorkerError):  # depends on the scheduler's configuration
                return None
            except CancelledError:
                raise self._workers.gone() from None
            except Exception as error:  # the job was not started
                self._workers.check()
                raise UserError(
                    f"{self._address}: the scheduler or a worker cannot run this project "
                    f"({one_line(error)}); install it where they run, start them again and {AGAIN}"
                ) from error
        if failed:
            raise type(failed)(f"worker {worker}: {failed}")
        return answer  # type: ignore[no-any-return]

    def _characters(self) -> "Future[Any]":
        """A future of the characters, which workers fetch from each other.

        It is the result of a task, so that Dask can recompute it if all workers holding it leave.
        """
        import dask

        if not self._sent:
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"}):
                self._sent = self._workers.client.submit(
                    _identity, self._load(), key=f"characters-{uuid4().hex}"
                )
        return self._sent


def _difference(theirs: Computer, ours: Computer) -> str:
    if theirs.name != ours.name:
        message = f"it computes on {theirs.name}, here {ours.name}"
    else:
        only_one = {*theirs.arithmetic.split()} ^ {*ours.arithmetic.split()}
        message = f"its {theirs.name} has different instructions ({' '.join(sorted(only_one))})"
    return f"{message}; `training.machines: mixed` in params.yaml keeps each stage to one kind"


def _identity(characters: Characters) -> Characters:
    return characters
