# calls runs docker-compose 1, a Python program, as it is, but does not load it anew each time. Each line of the
# standard input is one call, {"dir": …, "env": {…}, "args": […], "out": FILE}; each line of the output its exit code.
import json
import os
import sys

from compose.cli.main import main


def call(job):
    os.chdir(job["dir"])
    os.environ.clear()
    os.environ.update(job["env"])
    out = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = ["docker-compose"] + job["args"]
    try:
        main()
        code = 0
    except SystemExit as e:
        code = e.code if isinstance(e.code, int) else 1 if e.code else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        call(job)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
