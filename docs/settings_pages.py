"""Sphinx extension: `{settings} pcfdsl.scene.config.SceneConfig` lists the settings of a class."""

import importlib

from docutils import nodes
from docutils.parsers.rst import Directive

from pcfdsl.config import describe


class SettingsList(Directive):
    """A literal block of every key with its default, choices and meaning, as --help prints it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        module, _, name = self.arguments[0].rpartition(".")
        text = describe(getattr(importlib.import_module(module), name))
        return [nodes.literal_block(text, text, language="text")]


def setup(app) -> dict:
    app.add_directive("settings", SettingsList)
    return {"parallel_read_safe": True}
