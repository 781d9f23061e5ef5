"""Questions that a programmer asks of the standard library, with their answers.

They were written before any search had seen them, in everyday words, and stay as they
are: questions chosen by what a search finds would measure nothing (chapter 09).
"""

from __future__ import annotations

from typing import NamedTuple


class Question(NamedTuple):
    """What is looked for, and the names in `docstrings.corpus` that answer it."""

    query: str
    answers: tuple[str, ...]


def _asked(query: str, answers: str) -> Question:
    return Question(query, tuple(answers.split()))


QUESTIONS = (
    _asked("sort a list in place", "builtins.list.sort"),
    _asked("copy a whole folder with everything in it", "shutil.copytree"),
    _asked("delete a folder and all that is inside", "shutil.rmtree"),
    _asked(
        "which day of the week is a date",
        "datetime.date.weekday datetime.date.isoweekday calendar.weekday",
    ),
    _asked("greatest common divisor of two numbers", "math.gcd"),
    _asked("break a long paragraph into short lines", "textwrap.wrap textwrap.fill"),
    _asked("turn an object into a JSON string", "json.dumps"),
    _asked("pick a random element", "random.Random.choice"),
    _asked("mix the elements of a list at random", "random.Random.shuffle"),
    _asked("wait some seconds", "time.sleep"),
    _asked("average of numbers", "statistics.mean statistics.fmean"),
    _asked(
        "find files whose names match a pattern",
        "glob.glob glob.iglob fnmatch.filter pathlib.Path.glob",
    ),
    _asked(
        "run a program and get its output",
        "subprocess.check_output subprocess.run subprocess.getoutput",
    ),
    _asked("remove spaces at both ends of a string", "builtins.str.strip"),
    _asked("how many times does an element occur in a list", "builtins.list.count"),
    _asked(
        "make a temporary file",
        "tempfile.NamedTemporaryFile tempfile.mkstemp tempfile.TemporaryFile",
    ),
    _asked("are two files the same", "filecmp.cmp"),
    _asked("the size of a file in bytes", "genericpath.getsize os.stat"),
    _asked(
        "split a web address into its parts",
        "urllib.parse.urlparse urllib.parse.urlsplit",
    ),
    _asked("write bytes as base 64", "base64.b64encode base64.standard_b64encode"),
    _asked("start a thread", "threading.Thread.start"),
    _asked("all orderings of a sequence", "itertools.permutations"),
    _asked("every pair of elements from two lists", "itertools.product"),
    _asked("remember the results of a function", "functools.lru_cache functools.cache"),
    _asked("the n largest elements", "heapq.nlargest"),
    _asked("put a value into a sorted list", "bisect.insort_right bisect.insort_left"),
    _asked("turn a list round", "builtins.list.reverse builtins.reversed"),
    _asked(
        "ask for a password without showing it",
        "getpass.unix_getpass getpass.win_getpass",
    ),
    _asked("the number of processors", "os.cpu_count"),
    _asked("convert seconds to local time", "time.localtime"),
    _asked(
        "read a date that was written as text",
        "datetime.datetime.strptime time.strptime datetime.date.fromisoformat "
        "datetime.datetime.fromisoformat",
    ),
    _asked(
        "write rows of a table to a file",
        "csv.writer csv.Writer.writerows csv.Writer.writerow",
    ),
    _asked("unpack compressed data", "zlib.decompress gzip.decompress bz2.decompress"),
    _asked("send a mail", "smtplib.SMTP.sendmail smtplib.SMTP.send_message"),
    _asked("open a page in the browser", "webbrowser.open webbrowser.open_new"),
    _asked("the square root", "math.sqrt math.isqrt"),
    _asked(
        "a tuple whose fields have names", "collections.namedtuple typing.NamedTuple"
    ),
    _asked("the names of all files in a directory", "os.listdir os.scandir"),
    _asked(
        "show where an error came from",
        "traceback.print_exc traceback.print_exception traceback.format_exc",
    ),
    _asked("measure how long a statement takes", "timeit.timeit timeit.Timer.timeit"),
)
