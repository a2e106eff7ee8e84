"""`scalecore data`: the commands of dataset plugins that look after files of their own."""

from __future__ import annotations

import importlib

import click

from scalecore.api.errors import PluginError


class _DatasetCommands(click.Group):
    """The commands that installed dataset plugins offer; of two with one name the dataset's name comes first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._commands())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        commands = self._commands()
        if not commands:
            raise PluginError("no installed dataset has data commands; pip install scalecore-market for market data")
        return commands.get(cmd_name)

    @staticmethod
    def _commands() -> dict[str, click.Command]:
        from scalecore.plugins.registry import load_registry

        found: dict[str, click.Command] = {}
        for component in load_registry().components("dataset"):
            target: str | None = getattr(component.record, "commands", None)
            if target is None:
                continue
            module, _, attribute = target.partition(":")
            group: click.Group = getattr(importlib.import_module(module), attribute)
            for name, command in group.commands.items():
                found[f"{component.name}-{name}" if name in found else name] = command
        return found


@click.command(cls=_DatasetCommands)
def data() -> None:
    """Take in, build and verify data, by the commands of the installed dataset plugins.

    \b
    Examples:
      scalecore data ingest SPY=spy_daily.csv --store market
      scalecore data verify --store market
    """
