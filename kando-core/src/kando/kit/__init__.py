"""A kit: the types, responders, tools, prompts and policies of a domain, declared with decorators."""

from kando.kit._kit import Kit
from kando.kit._options import model_setting, setting
from kando.kit._prompts import load_prompts
from kando.kit._types import OMITTED, RECALL, Demo, RelationType
from kando.schema._keywords import json_schema

__all__ = [
    "OMITTED",
    "RECALL",
    "Demo",
    "Kit",
    "RelationType",
    "json_schema",
    "load_prompts",
    "model_setting",
    "setting",
]
