"""Event files of TensorBoard, written with its own record writer; neither torch nor TensorFlow is imported."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from scalecore.api.space import Value

__all__ = ["EventFile", "columns", "new_name", "session_end", "session_start", "whole_file"]


def new_name() -> str:
    """A name that TensorBoard takes for an event file, and reads after all earlier ones of its folder."""
    return f"events.out.tfevents.{time.time_ns():020d}.scalecore"


class EventFile:
    """Appends events to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = RecordWriter(path.open("wb"))
        self._write(Event(file_version="brain.Event:2", wall_time=time.time()))

    def restart(self) -> None:
        """Whatever earlier files of this folder hold is void: a running TensorBoard forgets it."""
        log = SessionLog(status=SessionLog.START)
        self._write(Event(session_log=log, step=0, wall_time=time.time()))

    def scalars(self, values: Mapping[str, float], *, step: int, at: float | None = None) -> None:
        """Numbers of one step; `at` in seconds since 1970, now by default."""
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()])
        self._write(Event(summary=summary, step=step, wall_time=time.time() if at is None else at))

    def hparams(self, tag: str, content: plugin_data_pb2.HParamsPluginData) -> None:
        """What the plugin for hyper-parameters reads."""
        value = Summary.Value(tag=tag, metadata=metadata.create_summary_metadata(content), tensor=metadata.NULL_TENSOR)
        self._write(Event(summary=Summary(value=[value]), wall_time=time.time()))

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _write(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())


@contextmanager
def whole_file(folder: Path) -> Iterator[EventFile]:
    """A file that is there once it is whole, or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".writing.tmp"
    file = EventFile(temporary)
    try:
        yield file
        file.close()
        temporary.replace(folder / new_name())
    except BaseException:
        with suppress(OSError):
            file.close()
        temporary.unlink(missing_ok=True)
        raise


def session_start(group: str, parameters: Mapping[str, Value], *, at: float | None) -> Callable[[EventFile], None]:
    """Writes that a trial of these parameters began."""
    info = plugin_data_pb2.SessionStartInfo(group_name=group, start_time_secs=at or 0.0)
    for name, value in parameters.items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            info.hparams[name].number_value = value
        else:
            info.hparams[name].string_value = str(value)
    content = plugin_data_pb2.HParamsPluginData(session_start_info=info)
    return lambda file: file.hparams(metadata.SESSION_START_INFO_TAG, content)


def session_end(*, success: bool, at: float | None) -> Callable[[EventFile], None]:
    """Writes how the trial ended."""
    status = api_pb2.STATUS_SUCCESS if success else api_pb2.STATUS_FAILURE
    info = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=at or 0.0)
    content = plugin_data_pb2.HParamsPluginData(session_end_info=info)
    return lambda file: file.hparams(metadata.SESSION_END_INFO_TAG, content)


def columns(parameters: Mapping[str, type], metrics: Mapping[str, str]) -> Callable[[EventFile], None]:
    """Writes which parameters and metrics the table of hyper-parameters shows; metrics are tags with their titles."""
    kinds = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}
    experiment = api_pb2.Experiment(
        hparam_infos=[
            api_pb2.HParamInfo(name=name, type=kinds.get(kind, api_pb2.DATA_TYPE_FLOAT64))
            for name, kind in parameters.items()
        ],
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=title) for tag, title in metrics.items()
        ],
    )
    content = plugin_data_pb2.HParamsPluginData(experiment=experiment)
    return lambda file: file.hparams(metadata.EXPERIMENT_TAG, content)
