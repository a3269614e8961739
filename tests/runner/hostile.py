"""Fake methods, one per way of going wrong. Loaded by real workers, never by the tests' process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import numpy as np

from lee_bench.contract import Candidate, Method, Outcome
from lee_bench.errors import SetupError


class Fake(Method):
    """Answers `formula`; the base of all others."""

    summary = "a fake method"
    formula = "x0 + x1"

    def search(self, task, budget, seed):
        pass

    def answer(self):
        return Outcome((Candidate(self.formula),), stop_reason="done")


class Rivalled(Fake):
    """Shares its only processor for 0.8 s."""

    def search(self, task, budget, seed):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as rival:
            end = time.monotonic() + 0.8
            while time.monotonic() < end:
                pass
            rival.kill()


class RivalledInAThread(Rivalled):
    """Does all its work in a thread that is gone when the search returns."""

    def search(self, task, budget, seed):
        thread = threading.Thread(target=super().search, args=(task, budget, seed))
        thread.start()
        thread.join()
        while Path("/proc/self/task", str(thread.native_id)).exists():
            time.sleep(0.001)  # the system lets go of it a little later than Python


class Good(Fake):
    def answer(self):
        return Outcome(
            (Candidate("x0"), Candidate("no formula at all"), Candidate("x0 + x1", 0.0, 3)),
            chosen=2,
            predict=lambda X: X[:, 0] + X[:, 1],
            stop_reason="done",
        )


class CountsInNumpy(Fake):
    """Every number is numpy's, as adapters have them at hand."""

    def answer(self):
        return Outcome(
            (Candidate("x0"), Candidate("x0 + x1", np.float32(0.5), np.int64(3))),
            chosen=np.int64(1),
            details={"sizes": np.arange(2), "exact": np.bool_(True), "long": np.longdouble(1)},
        )


class Liar(Fake):
    def answer(self):
        return Outcome((Candidate(self.formula),), predict=lambda X: X[:, 0] * 0.0)


class Hangs(Fake):
    def search(self, task, budget, seed):
        time.sleep(1000)


class HangsDeaf(Fake):
    """Ignores polite requests, and burns the processor while it does."""

    def search(self, task, budget, seed):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            pass


class HangsAtEnd(Fake):
    """Leaves a thread that would keep the interpreter from exiting."""

    def search(self, task, budget, seed):
        threading.Thread(target=time.sleep, args=(1000,)).start()


class Forks(Fake):
    """Leaves children behind: one in the group, one that fled to its own session, one orphaned."""

    def search(self, task, budget, seed):
        sleeper = [sys.executable, "-c", "import time; time.sleep(1000)"]
        subprocess.Popen(sleeper)
        subprocess.Popen(sleeper, start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(1000)
            os._exit(0)


class ForksAndHangs(Forks):
    def search(self, task, budget, seed):
        super().search(task, budget, seed)
        time.sleep(1000)


class FillsMemory(Fake):
    def search(self, task, budget, seed):
        hoard = []
        while True:
            hoard.append(np.ones(4 << 20))


class ChildFillsMemory(Fake):
    def search(self, task, budget, seed):
        code = "import time; x = bytearray(b'1') * (600 << 20); time.sleep(99)"
        subprocess.run([sys.executable, "-c", code], check=False)


class HandsMemoryOn(Fake):
    """Has a child that fills memory and ends, then takes as much itself: never too much at once."""

    def search(self, task, budget, seed):
        code = "import time; x = bytearray(b'1') * (250 << 20); time.sleep(1)"
        subprocess.run([sys.executable, "-c", code], check=True)
        hoard = b"1" * (250 << 20)
        time.sleep(1)
        del hoard


class MemoryErrors(Fake):
    def search(self, task, budget, seed):
        raise MemoryError


class PrintsEndlessly(Fake):
    def search(self, task, budget, seed):
        for _ in range(3000):
            os.write(1, b"\xff\x00garbage \x1b[31m" * 4096)


class Raises(Fake):
    def search(self, task, budget, seed):
        raise RuntimeError("this method has a bug")


class Segfaults(Fake):
    def search(self, task, budget, seed):
        os.kill(os.getpid(), signal.SIGSEGV)


class KilledOutside(Fake):
    def search(self, task, budget, seed):
        os.kill(os.getpid(), signal.SIGKILL)


class ExitsEarly(Fake):
    def search(self, task, budget, seed):
        os._exit(0)


class SystemExits(Fake):
    def search(self, task, budget, seed):
        sys.exit(3)


class AnswersNothing(Fake):
    def answer(self):
        return Outcome(())


class AnswersNone(Fake):
    def answer(self):
        return None


class AnswersNaN(Fake):
    formula = "nan"


class AnswersUndefined(Fake):
    formula = "log(-1 - x0**2)"


class AnswersGarbage(Fake):
    formula = "x0 +* ?? \x00 \N{PILE OF POO}"


class AnswersForeignVariable(Fake):
    formula = "x0 + target"


class AnswersCode(Fake):
    formula = "__import__('pathlib').Path('OWNED').touch()"


class AnswersDeep(Fake):
    formula = "(" * 50_000 + "x0" + ")" * 50_000


class AnswersHuge(Fake):
    formula = "x0" + " + x0" * 200_000


class AnswersNumber(Fake):
    def answer(self):
        return Outcome((Candidate(3.14),))


class WritesBrokenAnswer(Fake):
    def search(self, task, budget, seed):
        Path("answer.json").write_text('{"candidates": [')
        os._exit(0)


class WritesRubbishAnswer(Fake):
    def search(self, task, budget, seed):
        Path("answer.json").write_text("[" * 100_000)
        os._exit(0)


class WritesOddAnswer(Fake):
    odd: ClassVar = {}

    def search(self, task, budget, seed):
        answer = {"candidates": [{"formula": "x0"}], **self.odd}
        Path("answer.json").write_text(json.dumps(answer))
        os._exit(0)


class WritesNoSeconds(WritesOddAnswer):
    odd: ClassVar = {"seconds": None}


class WritesWordsForSeconds(WritesOddAnswer):
    odd: ClassVar = {"seconds": {"search": "long"}}


class WritesWordsForPredictions(WritesOddAnswer):
    odd: ClassVar = {"predictions": ["a"]}


class WritesTableOfPredictions(WritesOddAnswer):
    odd: ClassVar = {"predictions": [[1.0, 2.0]]}


class WritesNumberForDetails(WritesOddAnswer):
    odd: ClassVar = {"details": 3}


class WritesWordsForMemory(WritesOddAnswer):
    odd: ClassVar = {"peak_memory_mb": "much"}


class WritesRubbishPhase(Fake):
    def search(self, task, budget, seed):
        Path("phase").write_bytes(b"\xff")
        time.sleep(0.2)


class TellsWhatNoFileHolds(Fake):
    def answer(self):
        return Outcome((Candidate("x0"),), details={(1, 2): 3})


class ForksTwiceAndFills(Fake):
    """Fills memory in a process whose parent has left."""

    def search(self, task, budget, seed):
        if os.fork() == 0:
            if os.fork() == 0:
                kept = bytearray(600 << 20)
                kept[::4096] = b"x" * len(kept[::4096])
                time.sleep(1000)
            os._exit(0)
        time.sleep(1000)


class PredictsBadly(Fake):
    def answer(self):
        return Outcome((Candidate(self.formula),), predict=lambda X: X)


class Unavailable(Fake):
    def prepare(self, task, budget, seed):
        raise SetupError("its licence server is down")


class Thrifty(Fake):
    """Tells how many threads it may use."""

    def search(self, task, budget, seed):
        self.threads = os.environ["OMP_NUM_THREADS"]

    def answer(self):
        return Outcome((Candidate(self.formula),), details={"threads": self.threads})
