"""Python workers without the seconds that importing a framework takes.

    python forked_worker.py serve NAME MODULE...    imports the modules once, then forks
    python forked_worker.py start NAME FOLDER ENGINE    is one worker, for a program that starts it
    python forked_worker.py start NAME FOLDER ENGINE IN,OUT    the same, as src/engines/python/python.c starts Python
    python forked_worker.py module NAME MODULE WORD...    is `python -m MODULE WORD...`, a launcher that imports the framework

`start` hands its descriptors, environment and folder to the server, whose child becomes the worker, as
`python -m tokmark_worker ENGINE` would in that folder; it ends as the worker ends, and the worker ends
with it. A test asks the server itself (fork_server.py). What is about the start itself (an archive that is run, memory, missing packages, the parent's death)
has real ones.
"""
import array
import gc
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import sys
import warnings

REQUEST_BYTES_MAX = 1 << 20
WORKER = "tokmark_worker"


# --- the one who asks: no more imports than it needs, it is started often --------------------------


def address(name):
    """Abstract: it is gone with its server, however that ends."""
    return "\0" + name


def connect(name):
    """As long as somebody is connected, the server is there."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        server.connect(address(name))
    except OSError:
        server.close()
        raise
    return server


def ask(name, folder, words, environ, fds, module=WORKER):
    """The connection that says the worker's end, to exit_code(); the worker ends with it."""
    server = connect(name)
    request = json.dumps({"folder": folder, "module": module, "words": words, "environ": environ, "pid": os.getpid()}).encode()
    server.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
    return server


def exit_code(answer):
    """As subprocess has it."""
    if len(answer) < 4:
        sys.exit("the server of forked workers is gone")
    return os.waitstatus_to_exitcode(struct.unpack("i", answer)[0])


def start(name, folder, engine, streams=None):
    ends = [0, 1] if streams is None else [int(fd) for fd in streams.split(",")]
    stand_for(ask(name, folder, [engine], dict(os.environ), [0, 1, 2, *(() if streams is None else ends)]), ends)


def start_module(name, module, *words):
    stand_for(ask(name, os.getcwd(), words, dict(os.environ), [0, 1, 2], module), [0, 1])


def stand_for(connection, ends):
    """Ends as the one who was asked for does."""
    with connection as server:
        # the worker's alone now: whoever holds the other end must see it end
        for fd in ends:
            os.close(fd)
        # a launcher's ranks are told so that they are to end, and may have something to say first
        signal.signal(signal.SIGTERM, lambda number, _: server.send(struct.pack("i", number)))
        code = exit_code(server.recv(4))
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


# --- the one who forks -----------------------------------------------------------------------------


def receive(connection):
    """None where nothing is asked for."""
    request, rights, _, _ = connection.recvmsg(REQUEST_BYTES_MAX, socket.CMSG_SPACE(5 * 4))
    if not request:
        return None
    fds = array.array("i")
    fds.frombytes(rights[0][2])
    return json.loads(request), list(fds)


def become(request, fds):
    """The child: descriptors, environment and folder as if it had been started there. Gives what it is to run, and the
    descriptors of requests and replies where they are not the standard ones."""
    for number, action in ((signal.SIGCHLD, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        signal.signal(number, action)
    for target, fd in enumerate(fds[:3]):
        os.dup2(fd, target)
        os.close(fd)
    os.environ.clear()
    os.environ.update(request["environ"])
    if "TOKMARK_TEST_NET" in os.environ:
        enter_namespaces(os.environ["TOKMARK_TEST_NET"], f"/proc/{request['pid']}/ns/uts")
    os.chdir(request["folder"])
    # as `python -m` has it: the folder it is started in, then PYTHONPATH
    sys.path[0] = request["folder"]
    sys.argv[1:] = request["words"]
    return request["module"], fds[3:]


def enter_namespaces(*paths):
    """A network that the one who asks cannot be in, since we would not hear it there; and its host's name."""
    import ctypes

    for path in paths:
        with open(path, "rb") as namespace:
            if ctypes.CDLL(None).setns(namespace.fileno(), 0) != 0:
                raise RuntimeError(f"cannot enter {path}")


class Server:
    def __init__(self, name):
        self.selector = selectors.DefaultSelector()
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(address(name))
        self.listener.listen(8)
        self.wake, wake_writer = socket.socketpair()
        for end in (self.wake, wake_writer):
            end.setblocking(False)
        self.wake_writer = wake_writer
        signal.set_wakeup_fd(wake_writer.fileno())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.selector.register(self.wake, selectors.EVENT_READ)
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        self.children = {}
        # it ends with the last of those who have asked for nothing yet: tests that keep it, as does who started it
        self.keepers = {sys.stdin}
        print("serving", flush=True)

    def close(self, *others):
        """In a child: by their objects, which could else close a descriptor of the worker's later."""
        signal.set_wakeup_fd(-1)
        self.selector.close()
        self.keepers.discard(sys.stdin)
        for end in (self.listener, self.wake, self.wake_writer, *self.children.values(), *self.keepers, *others):
            end.close()

    def collect(self):
        self.wake.recv(4096)
        for pid, connection in list(self.children.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if not found:
                continue
            del self.children[pid]
            self.selector.unregister(connection)
            try:
                connection.send(struct.pack("i", status))
            except OSError:
                pass  # it is gone
            connection.close()

    def signal_child(self, connection):
        """A signal that is handed on. Or whoever asked is gone, so the worker goes too; collect() does the rest."""
        try:
            said = connection.recv(4)
        except OSError:
            said = b""
        for pid, other in self.children.items():
            if other is connection:
                os.kill(pid, struct.unpack("i", said)[0] if said else signal.SIGKILL)

    def hear(self, keeper):
        """A request, which is then what the connection is for, or its end. The request in the child."""
        asked = None if keeper is sys.stdin else receive(keeper)
        self.keepers.remove(keeper)
        if asked is None:
            self.selector.unregister(keeper)
            if keeper is not sys.stdin:  # whose number a worker's own would get
                keeper.close()
            if not self.keepers:
                os._exit(0)
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # jax: no thread of its own is running yet
            pid = os.fork()
        if pid == 0:
            self.close(keeper)
            return asked
        for fd in asked[1]:
            os.close(fd)
        self.children[pid] = keeper
        return None

    def serve(self):
        """Returns in each child, what become() gives."""
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.wake:
                    self.collect()
                elif key.fileobj is self.listener:
                    connection, _ = self.listener.accept()
                    self.keepers.add(connection)
                    self.selector.register(connection, selectors.EVENT_READ)
                elif key.fileobj in self.keepers:
                    asked = self.hear(key.fileobj)
                    if asked is not None:
                        return become(*asked)
                elif key.fileobj in self.children.values():
                    self.signal_child(key.fileobj)


def put_fault_in(engine, fault):
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    import faulty_steps

    faulty_steps.put_in(engine, fault)


def main():
    if sys.argv[1] == "start":
        start(*sys.argv[2:])
    if sys.argv[1] == "module":
        start_module(*sys.argv[2:])
    gc.disable()
    for name in sys.argv[3:]:
        __import__(name)
    # a worker's collections look through what it made itself, and no page is copied for that
    gc.collect()
    gc.freeze()
    gc.enable()
    module, streams = Server(sys.argv[2]).serve()
    if "TOKMARK_TEST_IMPORT" in os.environ:  # a module of the folder's
        __import__(os.environ["TOKMARK_TEST_IMPORT"])
    if "TOKMARK_TEST_FAULT" in os.environ:
        put_fault_in(sys.argv[1], os.environ["TOKMARK_TEST_FAULT"])
    if streams:
        from tokmark_worker.__main__ import main as work

        work(*streams)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
