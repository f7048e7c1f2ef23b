"""Plugins: kits, substrates, LLM providers, exporters, recalls, commands and more of other distributions."""

from kando.plugins.errors import (
    InvalidSpec,
    PluginBroken,
    PluginConflict,
    PluginError,
    UnknownPlugin,
)
from kando.plugins.hookspecs import hookimpl, hookspec
from kando.plugins.manager import Plugins
from kando.plugins.records import BUILT_IN, LoadedPlugin, Offered
from kando.plugins.specs import (
    PLUGIN_API,
    CommandSettings,
    CommandSpec,
    ExporterSpec,
    KitSpec,
    ProviderSpec,
    RecallSpec,
    SubstrateSpec,
    ToolProtocolSpec,
)

__all__ = [
    "BUILT_IN",
    "PLUGIN_API",
    "CommandSettings",
    "CommandSpec",
    "ExporterSpec",
    "InvalidSpec",
    "KitSpec",
    "LoadedPlugin",
    "Offered",
    "PluginBroken",
    "PluginConflict",
    "PluginError",
    "Plugins",
    "ProviderSpec",
    "RecallSpec",
    "SubstrateSpec",
    "ToolProtocolSpec",
    "UnknownPlugin",
    "hookimpl",
    "hookspec",
]
