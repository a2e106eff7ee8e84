"""`scalecore dashboard`: optuna-dashboard on a study's mirror, or on one that is made in memory from its journal."""

from __future__ import annotations

import signal
import socketserver
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from optuna.storages import BaseStorage, InMemoryStorage

from scalecore.api.errors import PluginError, RefusedError
from scalecore_optuna.mirror import Mirror, close_storage, open_storage, reason_of, storage_file
from scalecore_optuna.pictures import NUMBER, StudyPicture, picture_of

if TYPE_CHECKING:
    from scalecore.api.protocols import DashboardContext
    from scalecore_optuna.options import MirrorOptions

__all__ = ["serve"]

HOST = "127.0.0.1"
"""The dashboard asks for no password and can delete studies: it is for this machine only."""
REFRESH = 2.0
"""Seconds between two looks at the journal of the study."""


def serve(options: MirrorOptions | None, context: DashboardContext) -> None:
    """Serve until Ctrl-C. Raises `PluginError` without optuna-dashboard, `RefusedError` where the port is taken."""
    try:
        from optuna_dashboard import wsgi
    except ImportError:
        raise PluginError(
            "optuna-dashboard is not installed; `pip install 'scalecore-optuna[dashboard]'` provides it"
        ) from None

    study = context.read()
    name = (options.study_name if options else None) or study.name
    storage = _mirror(options, context, picture_of(study, name=name))
    stop = threading.Event()
    if storage is None:
        storage = InMemoryStorage()
        memory = Mirror(lambda known=storage: known)  # type: ignore[misc]
        memory.bring_in_line(picture_of(study, name=name))
        threading.Thread(target=_follow, args=(memory, context, name, stop), daemon=True).start()
    study_id = storage.get_study_id_from_name(name)
    try:
        server = make_server(
            HOST, context.port, _for_this_machine(wsgi(storage)), server_class=_Server, handler_class=_Handler
        )
    except OSError as error:
        raise RefusedError(
            f"port {context.port} of {HOST} cannot be listened on: {error.strerror}; give another --port, or 0 for any"
        ) from None
    # A shell's background job inherits that Ctrl-C is ignored; whoever sends the signal to this process means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        context.tell(f"http://{HOST}:{server.server_port}/dashboard/studies/{study_id}")
        context.tell("Ctrl-C ends the dashboard; the study goes on")
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        context.tell("dashboard ended")
    finally:
        stop.set()
        server.server_close()


def _mirror(options: MirrorOptions | None, context: DashboardContext, wanted: StudyPicture) -> BaseStorage | None:
    """The study's own mirror, where it has one that is in line; else None, and why is told."""
    if options is None:
        context.tell("the study has no mirror; shown from its journal")
        return None
    file = storage_file(options.storage, context.folder)
    try:
        if file is not None and not file.exists():
            raise FileNotFoundError("it is not there")
        storage = open_storage(options.storage, context.folder, repair=False)
        trials = storage.get_all_trials(storage.get_study_id_from_name(wanted.name), deepcopy=False)
    except Exception as error:
        context.tell(f"mirror {options.storage} cannot be read: {reason_of(error)}; shown from the study's journal")
        return None
    there = {trial.user_attrs.get(NUMBER) for trial in trials if trial.state.is_finished()}
    behind = [number for number, one in wanted.pictures.items() if one.state.is_finished() and number not in there]
    if behind:
        close_storage(storage)
        context.tell(f"mirror {options.storage} lacks {len(behind)} finished trials; shown from the study's journal")
        return None
    context.tell(f"shown from the mirror {options.storage}")
    return storage


def _follow(memory: Mirror, context: DashboardContext, name: str, stop: threading.Event) -> None:
    """Keep what is shown as the journal has it; a journal that cannot be read for a moment is read again."""
    while not stop.wait(REFRESH):
        with suppress(Exception):
            memory.bring_in_line(picture_of(context.read(), name=name))


def _for_this_machine(app: Any) -> Any:
    """Refuse what was asked for under another name: a page from elsewhere could let its name point to this machine."""

    def guarded(environ: dict[str, Any], start_response: Any) -> Any:
        if environ.get("HTTP_HOST", "").partition(":")[0] in (HOST, "localhost"):
            return app(environ, start_response)
        start_response("403 Forbidden", [("Content-Type", "text/plain")])
        return [f"open it as http://{HOST}\n".encode()]

    return guarded


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    """A browser opens several connections at once."""

    daemon_threads = True


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing of single requests."""
