"""A kit: the types, responders, tools, prompts and policies of a domain, declared with decorators."""

# long: one class whose methods are the reference of kit authors; most lines are their docstrings.

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import resources
from string import Template
from typing import Any, TypeVar, overload

import attrs

from kando._kit_checks import check_kit
from kando.errors import ConfigurationError, InvalidData, NotFoundError
from kando.responders.base import Responder, Retry
from kando.responders.chats import (
    compaction_of,
    first_words,
    messages_after,
    said_in,
    type_of_conversation,
)
from kando.responders.compaction import Compaction
from kando.responders.edge import check_relation_type, edge_responder
from kando.responders.executor import ToolExecutorResponder
from kando.responders.llm_responder import CONVERSATION, Home, LLMResponder
from kando.responders.model_requests import request_options
from kando.responders.options import check_options
from kando.responders.policies import Policy, as_policy
from kando.responders.tool_servers import ToolServer, tool_server
from kando.responders.tools import (
    DEFAULT_MAX_RESULT_BYTES,
    DEFAULT_TIMEOUT,
    WRITE,
    Tool,
    as_tool,
)
from kando.schema.content import is_media
from kando.schema.events import (
    HUMAN_MESSAGE,
    LLM_RESPONSE,
    OBJECT_CREATED,
    RUN_CANCELLED,
    TOOL_CALLED,
    TOOL_RETURNED,
    KandoEvent,
)
from kando.schema.names import suggestion
from kando.schema.typed import OMITTED, instance_of, is_declarable
from kando.schema.upcasting import Upcaster
from kando.world.graph import World

__all__ = ["OMITTED", "Demo", "Kit", "RelationType", "load_prompts"]

_Class = TypeVar("_Class")
_Function = TypeVar("_Function", bound=Callable[..., Any])


@attrs.frozen
class RelationType:
    """A declared relation type.

    Attributes:
        name: such as ``supports``.
        source: type of its source objects; None for any.
        target: type of its target objects; None for any.
    """

    name: str
    source: str | None = None
    target: str | None = None


@attrs.frozen
class Demo:
    """Documents and recorded answers to try a kit with, without an API key or a network.

    Attributes:
        package: import name of the package that ships them, usually ``__package__``.
        goal: default goal of a run.
        folder: inside the package. All files of its ``documents/`` are input, and its
            ``answers.json`` holds the answers of the model (see `kando.app.kits.demos`).
    """

    package: str
    goal: str
    folder: str = "demo"


@attrs.define(eq=False)
class Kit:
    """A domain bundle.

    Attributes:
        name: as in the kit's entry point.
        version: of the kit.
        distribution: name of the distribution that ships it.
        object_types: classes by type name; data of these types is checked when recorded.
        relation_types: declared relation types by name; their source and target types are checked.
        event_types: the declared types of events of the kit's own.
        settings_class: the class of the kit's settings, or None.
        conversations: declared ones by name.
        responders: in registration order.
        edge_responders: the kit's edge logic, in registration order.
        cleaning: responders that clean up after a run was cancelled.
        tools: by name.
        prompts: texts by name, with ``$placeholders``.
        policies: each may deny a call or a new object, or have a person decide.
        upcasters: steps that upgrade events which older versions of the kit recorded.
        seed: ``seed(goal, run_id)`` returns the events that start a run.
        demo: documents and answers to try it with, if it ships them.
        result_of: ``result_of(world)`` returns the result of a finished run, or None.
        child_kits: kits of its child runs that are not installed: they are found with it. The kit in a
            file has the other kits of the file.
        tool_servers: the declared MCP servers, by name.
    """

    name: str
    version: str = "0"
    distribution: str = ""
    object_types: dict[str, type] = attrs.field(factory=dict)
    relation_types: dict[str, RelationType] = attrs.field(factory=dict)
    responders: list[Responder] = attrs.field(factory=list)
    edge_responders: list[Responder] = attrs.field(factory=list)
    cleaning: list[Responder] = attrs.field(factory=list)
    tools: dict[str, Tool] = attrs.field(factory=dict)
    prompts: dict[str, str] = attrs.field(factory=dict)
    policies: list[Policy] = attrs.field(factory=list)
    upcasters: list[Upcaster] = attrs.field(factory=list)
    seed: Callable[[str, str], list[KandoEvent]] | None = None
    demo: Demo | None = None
    event_types: set[str] = attrs.field(factory=set)
    settings_class: type | None = None
    result_of: Callable[[World], Any] | None = None
    child_kits: list[Kit] = attrs.field(factory=list, repr=False)
    conversations: dict[str, LLMResponder] = attrs.field(factory=dict)
    tool_servers: dict[str, ToolServer] = attrs.field(factory=dict)

    def object(self, cls: type[_Class]) -> type[_Class]:
        """Declare the decorated class as the object type of its name.

        Args:
            cls: an attrs class, a dataclass or a pydantic model. Each object of the type is
                recorded with the defaults of its fields.

        Raises:
            ConfigurationError: it is not such a class, or the name is already declared.
        """
        if not is_declarable(cls):
            named = getattr(cls, "__name__", repr(cls))
            msg = f"Kit {self.name!r}: object type {named} is not an attrs class, a dataclass or a pydantic model."
            raise ConfigurationError(msg, hint="Put @attrs.frozen under @kit.object.")
        self._claim([*self.object_types, CONVERSATION], cls.__name__, "object type")
        self.object_types[cls.__name__] = cls
        return cls

    def settings(self, cls: type[_Class]) -> type[_Class]:
        """Declare the decorated class as the settings of a run of the kit.

        Their values are given when a run is started or forked, and recorded in its ledger. A
        responder reads them with `World.settings`, and a tool gets them as the parameter that is
        annotated with the class.

        Args:
            cls: an attrs class, a dataclass or a pydantic model.

        Raises:
            ConfigurationError: it is not such a class, the kit has settings already, or a tool was
                declared before.
        """
        if not is_declarable(cls):
            msg = f"Kit {self.name!r}: its settings are {cls!r:.60}, not an attrs class."
            raise ConfigurationError(msg, hint="Put @attrs.frozen under @kit.settings.")
        if self.settings_class is not None:
            msg = f"Kit {self.name!r} declares settings twice."
            raise ConfigurationError(msg, hint="Put all fields into one class.")
        if self.tools:
            msg = f"Kit {self.name!r} declares settings after tools, which could not get them."
            raise ConfigurationError(msg, hint="Move @kit.settings before the first @kit.tool.")
        self.settings_class = cls
        return cls

    def relation(
        self, name: str, source: type | str | None = None, target: type | str | None = None
    ) -> str:
        """Declare a relation type and return its name.

        Args:
            name: such as ``supports``.
            source: type of its source objects; any if omitted.
            target: type of its target objects; any if omitted.

        Raises:
            ConfigurationError: the name is already declared, or is not a text.
        """
        check_relation_type(name)
        self._claim(self.relation_types, name, "relation type")
        self.relation_types[name] = RelationType(name, _type_name(source), _type_name(target))
        return name

    def event(self, type: str) -> str:
        """Declare a type of event of the kit's own and return it.

        A type need not be declared. It is then compared with all types that are: a responder that
        handles one which differs by a few letters is refused.
        """
        self._check_types("event", (type,))
        self.event_types.add(type)
        return type

    @overload
    def responder(self, fn: _Function, /) -> _Function: ...

    @overload
    def responder(
        self,
        *pattern: str,
        type: type | str | None = None,
        name: str | None = None,
        retry: Retry | None = None,
        on_error: str = "raise",
        was: str | Iterable[str] = (),
    ) -> Callable[[_Function], _Function]: ...

    def responder(
        self,
        *pattern: Any,
        type: type | str | None = None,
        name: str | None = None,
        retry: Retry | None = None,
        on_error: str = "raise",
        was: str | Iterable[str] = (),
    ) -> Any:
        """Register the decorated function ``fn(event, world)`` as a responder of the kit.

        Args:
            pattern: the event types it handles; every type if omitted, as without parentheses.
            type: handle only events about objects of this type.
            name: ``{kit}.{function}`` if omitted.
            retry: how often a firing that raises is attempted; once if omitted.
            on_error: ``raise`` or ``park``, see `kando.responders.base.Responder`.
            was: names that it had in earlier versions of the kit, so that a run which is resumed
                with this version does not fire it again.

        Raises:
            ConfigurationError: `pattern` is not made of event types.
        """
        fn, types = self._function_or_types("responder", pattern)

        def decorate(fn: _Function) -> _Function:
            self.responders.append(
                Responder(
                    name or f"{self.name}.{fn.__name__}",
                    frozenset(types),
                    fn,
                    object_type=_type_name(type),
                    kit=self,
                    retry=retry or Retry(),
                    on_error=on_error,
                    was=self._qualified(was),
                )
            )
            return fn

        return decorate if fn is None else decorate(fn)

    def on_cancelled(
        self,
        fn: _Function | None = None,
        *,
        seconds: float = 30.0,
        name: str | None = None,
        was: str | Iterable[str] = (),
    ) -> Any:
        """Register the decorated function ``fn(event, world)``, which cleans up after a cancelled run.

        It fires once, after ``run.cancelled`` and the answers of the calls that were begun are
        recorded. The tool calls that it emits are made, one after the other; no other responder
        fires. It never fires on a branch.

        Args:
            fn: the function; None if the decorator is called with arguments.
            seconds: time limit of the function and its calls. Later ones are recorded as parked.
            name: ``{kit}.{function}`` if omitted.
            was: names that it had in earlier versions of the kit.
        """

        def decorate(fn: _Function) -> _Function:
            self.cleaning.append(
                Responder(
                    name or f"{self.name}.{fn.__name__}",
                    frozenset({RUN_CANCELLED}),
                    fn,
                    kit=self,
                    was=self._qualified(was),
                    cleanup_seconds=seconds,
                )
            )
            return fn

        return decorate if fn is None else decorate(fn)

    def llm_responder(
        self,
        *pattern: str,
        prompt: str,
        output: type | None = None,
        many: bool = False,
        relation: str | None = None,
        type: type | str | None = None,
        system: str | None = None,
        tools: Iterable[str] = (),
        max_turns: int = 8,
        name: str | None = None,
        was: str | Iterable[str] = (),
        conversation: bool = False,
        compaction: Compaction | bool = True,
        window: int | None = None,
        **options: Any,
    ) -> Callable[[Callable[[Any, World], Mapping[str, Any] | None]], LLMResponder]:
        """Make the decorated function a responder that asks a model.

        ``fn(event, world)`` returns the values of the prompt's ``$placeholders``, or None to send no
        request. A value may be what `kando.image` or `kando.file` returns, or a list of these: it is
        sent in the place of its placeholder. An answer of the class of the object it is about patches that object; an answer of
        another class becomes a new object, and text becomes the object's ``text``. Decorate another
        function with ``fn.then`` to handle answers differently, and one with ``fn.failed`` to handle
        failures.

        Args:
            pattern: the event types it handles.
            prompt: name of a prompt of the kit.
            output: attrs class of the answer; None for text.
            many: whether the answer is a list of `output`.
            relation: type of a relation from each new object to the object it is about.
            type: handle only events about objects of this type.
            system: name of the prompt for the system message.
            tools: names of tools that the model may call, and of MCP servers whose tools it may
                call; the kit must have declared them already.
            max_turns: how many requests may follow from one event.
            name: ``{kit}.{function}`` if omitted.
            was: names that it had in earlier versions of the kit.
            conversation: whether a further event about the same object continues the conversation:
                all earlier messages, answers and results of tools are sent again before it.
            compaction: how a conversation that becomes too long is compacted; False for not at all.
            window: how many tokens the model reads, if `compaction` does not say so.
            options: further fields of the request: ``model``, ``max_tokens``, ``temperature``,
                ``effort``, ``thinking`` and others, as for `kando.emit.ask`.

        Raises:
            NotFoundError: the kit has no such prompt or tool.
            ConfigurationError: an option cannot be honoured, or has a value of another type; or
                `pattern` is not made of event types.
        """
        self._check_types("llm_responder", pattern)
        check_options(options, f"kit {self.name!r}")
        for each in (prompt, *((system,) if system is not None else ())):
            self._prompt_named(each)
        schemas, servers = self._tools_and_servers(list(tools))

        def messages(values: Mapping[str, Any]) -> list[dict[str, Any]]:
            user = [{"role": "user", "content": self._content(prompt, values)}]
            if system is None:
                return user
            return [{"role": "system", "content": self.prompt(system, **values)}, *user]

        def decorate(fill: Callable[[Any, World], Mapping[str, Any] | None]) -> LLMResponder:
            base = name or f"{self.name}.{fill.__name__}"
            responder = LLMResponder(
                base, fill, messages, output, many, relation, {}, max(max_turns, 1)
            )
            responder.options = request_options(responder.answer_class(), schemas, options)
            responder.was = self._qualified(was)
            responder.continues = conversation
            responder.compaction = compaction_of(compaction, window)
            responder.servers = servers
            self.responders += _parts_of(
                responder, pattern, _type_name(type), self, servers is not None
            )
            return responder

        return decorate

    def conversation(
        self,
        name: str = "chat",
        *,
        system: str | None = None,
        tools: Iterable[str] | None = None,
        max_turns: int = 100,
        compaction: Compaction | bool = True,
        window: int | None = None,
        was: str | Iterable[str] = (),
        **options: Any,
    ) -> LLMResponder:
        """Declare a conversation of people with a model that may call tools.

        The goal of a run is the first message. Each further ``human.message``, whose data has
        the ``text``, continues the conversation: `kando send RUN --text`, `Run.say`. The text of the
        last answer is the ``text`` of an object, whose id is `name` and whose type is the same name
        in the style of a class: ``chat`` and ``Chat``. Another object of this type has a
        conversation of its own; a message to it has its id as ``cause_object_id``.

        A message that comes while the model is asked or tools are called enters before the next
        request.
        Decorate functions with ``then`` and ``failed`` of the result to handle answers, and one with
        ``compact`` to compact a conversation that becomes too long.

        Args:
            name: of the conversation, of words in lower case.
            system: text of the system message.
            tools: names of tools that the model may call, and of MCP servers whose tools it may
                call; all that the kit has declared if omitted.
            max_turns: how many requests may follow from one message.
            compaction: how a conversation that becomes too long is compacted; False for not at all.
            window: how many tokens the model reads, if `compaction` does not say so.
            was: names that it had in earlier versions of the kit.
            options: further fields of the request, such as ``model`` or ``max_tokens``, as for
                `kando.emit.ask`.

        Raises:
            NotFoundError: the kit has no such tool.
            ConfigurationError: the name is taken, an option cannot be honoured, or a number of tokens
                is not positive.
        """
        check_options(options, f"kit {self.name!r}")
        type = type_of_conversation(name)
        self.object(type)
        home = Home(name, type.__name__, not self.conversations)
        named = [*self.tools, *self.tool_servers] if tools is None else list(tools)
        schemas, servers = self._tools_and_servers(named)
        responder = LLMResponder(
            f"{self.name}.{name}",
            said_in,
            messages_after(system),
            None,
            many=False,
            relation=None,
            options=request_options(None, schemas, options),
            max_turns=max(max_turns, 1),
            was=self._qualified(was),
            continues=True,
            compaction=compaction_of(compaction, window),
            home=home,
            servers=[] if tools is None and servers is None else servers,
        )
        self.conversations[name] = responder
        has_tools = responder.servers is not None
        self.responders += _parts_of(responder, (HUMAN_MESSAGE,), None, self, has_tools)
        if self.seed is None:
            self.seed = self._seeds_of_conversations
        return responder

    def _seeds_of_conversations(self, goal: str, run_id: str) -> list[KandoEvent]:
        homes = [each.home for each in self.conversations.values() if each.home is not None]
        return first_words(goal, run_id, homes)

    def edge_logic(
        self, relation_type: str, *, name: str | None = None, was: str | Iterable[str] = ()
    ) -> Callable[[_Function], _Function]:
        """Attach the decorated function ``fn(event, world)`` to a relation type, in this kit's runs.

        Args:
            relation_type: such as ``contradicts``.
            name: ``{kit}.{function}`` if omitted.
            was: names that it had in earlier versions of the kit.

        Raises:
            ConfigurationError: `relation_type` is not the name of one.
        """
        check_relation_type(relation_type)

        def decorate(fn: _Function) -> _Function:
            full_name = name or f"{self.name}.{fn.__name__}"
            edge = edge_responder(relation_type, fn, full_name, kit=self)
            self.edge_responders.append(attrs.evolve(edge, was=self._qualified(was)))
            return fn

        return decorate

    @overload
    def tool(self, name: _Function, /) -> _Function: ...

    @overload
    def tool(
        self,
        name: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        max_parallel: int | None = None,
        max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
        effect: str | None = None,
        undo: str | None = None,
        workspace: bool | None = None,
    ) -> Callable[[_Function], _Function]: ...

    def tool(
        self,
        name: Any = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
        max_parallel: int | None = None,
        max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
        effect: str | None = None,
        undo: str | None = None,
        workspace: bool | None = None,
    ) -> Any:
        """Offer the decorated function as a tool, called through ``tool.called``.

        Its signature and docstring become the tool's schema. It is called in a thread, with keyword
        arguments, and returns JSON. A parameter named ``idempotency_key`` gets a key that is the
        same whenever the call is repeated.

        Args:
            name: by which it is called; that of the function if omitted, as without parentheses.
            timeout: seconds after which a call is answered with an error; None for never.
            max_parallel: how many of its calls may be in flight at once, in all processes of a
                store together; None for the limit of the runtime.
            max_result_bytes: limit of its result, as JSON; a larger one is answered with an error.
            effect: what it does outside: ``read``, ``idempotent`` (repeating a call changes nothing
                more) or ``write``. A tool that takes the world reads, any other writes, if omitted.
                A branch does not repeat a write of its parent, and asks a person before another.
            undo: name of the tool that takes a call back: `Run.undo` calls it with the same
                arguments, as far as it has parameters of their names, and the result if it has a
                parameter ``result``.
            workspace: whether it uses `ToolContext.workspace`; its calls are then made one after the
                other. If omitted, the code of the function says so: it names ``ctx.workspace``.

        Raises:
            ConfigurationError: the name is taken or not a text, or a parameter cannot be passed by
                name.
        """
        bare = name if _is_function(name) else None
        if bare is None and name is not None and not isinstance(name, str):
            msg = f"The name of a tool of kit {self.name!r} is {name!r:.60}."
            raise ConfigurationError(msg, hint='Pass a text: @kit.tool("look_up").')

        def decorate(fn: _Function) -> _Function:
            named = name if isinstance(name, str) else fn.__name__
            self._claim([*self.tools, *self.tool_servers], named, "tool")
            self.tools[named] = as_tool(
                named,
                fn,
                timeout_seconds=timeout,
                max_parallel=max_parallel,
                max_result_bytes=max_result_bytes,
                effect=effect,
                undo=undo,
                workspace=workspace,
                settings_class=self.settings_class,
            )
            return fn

        return decorate if bare is None else decorate(bare)

    def mcp(
        self,
        name: str,
        *,
        command: Sequence[str] = (),
        url: str = "",
        tools: Iterable[str] | None = None,
        effect: str = WRITE,
        env: Iterable[str] = (),
        headers_from: Mapping[str, str] | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        max_parallel: int | None = None,
        max_result_bytes: int = DEFAULT_MAX_RESULT_BYTES,
    ) -> str:
        """Declare an MCP server, whose tools a model may call, and return its name.

        Its tools are listed when a run starts, and recorded. They are named ``{name}__{tool}``.
        Needs kando-mcp.

        Args:
            name: of the server; pass it as one of the ``tools`` of an LLM responder.
            command: starts the server, which speaks over stdin and stdout.
            url: of a server that already runs, by streamable HTTP; instead of `command`.
            tools: names of the tools to offer, as the server has them; all if omitted.
            effect: what its tools do outside: ``read``, ``idempotent`` or ``write``, as for
                `tool`; ``annotated`` trusts the hints of the server for each tool.
            env: names of environment variables that the server gets, in addition to PATH, HOME and
                the language.
            headers_from: for each HTTP header, the name of the environment variable that has its
                value, or a text such as ``Bearer $API_TOKEN``.
            timeout: seconds after which a call is answered with an error; None for never.
            max_parallel: how many of its calls may be in flight at once.
            max_result_bytes: limit of a result, as JSON; a larger one is answered with an error.

        Raises:
            ConfigurationError: the name is taken, or an argument is malformed.
        """
        server = tool_server(
            name,
            command=command,
            url=url,
            tools=tools,
            effect=effect,
            env=env,
            headers_from=headers_from,
            timeout=timeout,
            max_parallel=max_parallel,
            max_result_bytes=max_result_bytes,
        )
        self._claim([*self.tools, *self.tool_servers], name, "tool")
        self.tool_servers[name] = server
        return name

    def takes_added_servers(self) -> bool:
        """Whether a model of the kit may call tools, also of servers that a person adds to a run."""
        asking = (getattr(each.fn, "__self__", None) for each in self.responders)
        return any(isinstance(each, LLMResponder) and each.servers is not None for each in asking)

    def _tools_and_servers(
        self, named: Sequence[str]
    ) -> tuple[list[dict[str, Any]], list[str] | None]:
        """Return the schemas of named tools, and the named servers; None if no tool is named."""
        servers = [each for each in named if each in self.tool_servers]
        schemas = self.tool_schemas(each for each in named if each not in servers)
        return schemas, servers if named else None

    def tool_schemas(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return ``{"name", "description", "parameters"}`` of each tool, as requests hold them.

        Args:
            names: of the tools; all tools of the kit if omitted.

        Raises:
            NotFoundError: the kit has no such tool.
        """
        wanted = list(self.tools) if names is None else list(names)
        for name in wanted:
            if name not in self.tools:
                msg = f"Kit {self.name!r} has no tool {name!r}."
                raise NotFoundError(msg, hint=suggestion(name, self.tools))
        return [self.tools[name].schema() for name in wanted]

    def policy(self, *on: Any, type: type | str | None = None) -> Any:
        """Register the decorated ``fn(intent)`` or ``fn(intent, world)`` as a policy.

        It returns `Allow()`, `Deny(reason)` or `Ask(reason)` of `kando.responders.policies`; None
        allows, and a string denies. With `Ask` the intent waits until a person has answered.

        Args:
            on: types of events it judges: ``tool.called`` (if omitted), ``llm.request``,
                ``object.created``.
            type: judge only new objects of this type.

        Raises:
            ConfigurationError: policies cannot judge events of such a type.
        """
        fn, types = self._function_or_types("policy", on)
        default = (TOOL_CALLED,) if type is None else (OBJECT_CREATED,)

        def decorate(fn: _Function) -> _Function:
            self.policies.append(as_policy(fn, types or default, _type_name(type)))
            return fn

        return decorate if fn is None else decorate(fn)

    def upcaster(self, type: str, version: int) -> Callable[[_Function], _Function]:
        """Register the decorated ``fn(data)``, which upgrades the data of old events.

        Args:
            type: of the events. For ``object.created`` and the like, `fn` gets the data of objects
                of every type.
            version: of the data that `fn` takes, from 1; it returns data of the next version.
        """

        def decorate(fn: _Function) -> _Function:
            self.upcasters.append(Upcaster(type, version, fn))
            return fn

        return decorate

    def seeds(self, fn: Callable[[str, str], list[KandoEvent]]) -> Callable[..., list[KandoEvent]]:
        """Register the decorated ``fn(goal, run_id)``, which returns the events that start a run."""
        self.seed = fn
        return fn

    def result(self, fn: _Function) -> _Function:
        """Register the decorated ``fn(world)``, which returns the result of a finished run as JSON.

        A run that starts a run of the kit gets it with ``run.ended``. Without it, the result is the
        text of the last artifact, or else of the last answer of a model.
        """
        self.result_of = fn
        return fn

    def prompt(self, name: str, /, **values: Any) -> str:
        """Return a prompt with its ``$placeholders`` filled in.

        Values are inserted unchanged and not interpreted, so ``$x`` in a document stays ``$x``.

        Raises:
            NotFoundError: the kit has no such prompt.
            ConfigurationError: a placeholder has no value.
        """
        return self._filled(name, self._prompt_named(name), values)

    def _filled(self, name: str, text: str, values: Mapping[str, Any]) -> str:
        try:
            return Template(text).substitute(values)
        except (KeyError, ValueError) as error:
            msg = f"Prompt {name!r} of kit {self.name!r}: no value for {error}."
            raise ConfigurationError(msg, hint="Pass it as a keyword argument.") from error

    def _content(self, name: str, values: Mapping[str, Any]) -> str | list[Any]:
        """Return a prompt as the content of a message: with parts, if a value is an image or a file.

        Raises:
            ConfigurationError: a placeholder has no value, or an image or a file has no placeholder.
        """
        media = {each: found for each, value in values.items() if (found := _media_of(value))}
        if not media:
            return self.prompt(name, **values)
        texts = {each: value for each, value in values.items() if each not in media}
        template, content, at, placed = self._prompt_named(name), list[Any](), 0, set[str]()
        for match in Template.pattern.finditer(template):
            named = match["named"] or match["braced"]
            if named in media:
                content += [self._filled(name, template[at : match.start()], texts), *media[named]]
                at = match.end()
                placed.add(named)
        content.append(self._filled(name, template[at:], texts))
        if missing := sorted(media.keys() - placed):
            msg = f"Prompt {name!r} of kit {self.name!r} has no place for the value {missing[0]!r:.60}."
            raise ConfigurationError(msg, hint=f"Write ${missing[0]:.60} where it is to be.")
        return [each for each in content if not isinstance(each, str) or each.strip()]

    def _prompt_named(self, name: str) -> str:
        if name not in self.prompts:
            msg = f"Kit {self.name!r} has no prompt {name!r}."
            raise NotFoundError(msg, hint=suggestion(name, self.prompts))
        return self.prompts[name]

    def _function_or_types(
        self, decorator: str, given: tuple[Any, ...]
    ) -> tuple[Any, tuple[str, ...]]:
        """Return the function that a decorator without parentheses is given, else the event types."""
        if len(given) == 1 and _is_function(given[0]):
            return given[0], ()
        self._check_types(decorator, given)
        return None, given

    def _check_types(self, decorator: str, given: tuple[Any, ...]) -> None:
        wrong = next((each for each in given if not isinstance(each, str)), None)
        if wrong is None:
            return
        shown = wrong.__name__ if isinstance(wrong, type) else repr(wrong)
        msg = f"@kit.{decorator} of kit {self.name!r} got {shown:.60}, not the type of an event."
        is_class = isinstance(wrong, type)
        hint = f"For objects of a type, write type={shown}." if is_class else 'Write "a.type".'
        raise ConfigurationError(msg, hint=hint)

    def _qualified(self, names: str | Iterable[str]) -> list[str]:
        """Return names of responders as given, and with the name of the kit in front.

        A responder has the latter unless its author named it.
        """
        given = [names] if isinstance(names, str) else [*names]
        prefix = f"{self.name}."
        qualified = [f"{prefix}{each}" for each in given if not each.startswith(prefix)]
        return [*given, *qualified]

    def firing_order(self) -> list[str]:
        """Return the names of the kit's responders, in the order in which they handle an event."""
        order = [each.name for each in (*self.edge_responders, *self.responders)]
        return [*order, f"{self.name}.tools"] if self._calls_tools() else order

    def _calls_tools(self) -> bool:
        return bool(self.tools or self.tool_servers) or self.takes_added_servers()

    def create(
        self,
        settings: Mapping[str, Any] | None = None,
        *,
        tools: Mapping[str, Tool] | None = None,
    ) -> list[Responder]:
        """Return the responders for a runtime: edge logic, responders, the executor of the tools.

        Args:
            settings: of the run, for the tools, as ``kit.loaded`` holds them; the defaults if
                omitted. Responders read those in the ledger.
            tools: of servers, by the names that a model calls them.

        Raises:
            ConfigurationError: a name is misspelled, or a default of a declared class cannot be
                filled in.
        """
        check_kit(self)
        created = [*self.edge_responders, *self.responders, *self.cleaning]
        if self._calls_tools():
            name = f"{self.name}.tools"
            known = {**(tools or {}), **self._tools_with(settings or {})}
            created.append(attrs.evolve(ToolExecutorResponder(known, name=name), kit=self))
        return created

    def _tools_with(self, settings: Mapping[str, Any]) -> dict[str, Tool]:
        cls = self.settings_class
        if cls is None:
            return self.tools
        try:
            made: Any = instance_of(cls, settings)
        except InvalidData:
            # A call then says so; a run that makes none needs no settings.
            made = None
        return {name: attrs.evolve(tool, settings=made) for name, tool in self.tools.items()}

    def _claim(self, declared: Iterable[str], name: str, kind: str) -> None:
        if name in declared:
            msg = f"Kit {self.name!r} declares {kind} {name!r} twice."
            raise ConfigurationError(msg, hint="Rename one of them.")


def load_prompts(package: str, folder: str = "prompts") -> dict[str, str]:
    """Return the texts of a package's ``{folder}/*.md``, by file name without suffix.

    Args:
        package: import name, usually ``__package__``.
        folder: inside the package.
    """
    files = resources.files(package).joinpath(folder)
    return {
        file.name.removesuffix(".md"): file.read_text(encoding="utf-8")
        for file in sorted(files.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".md")
    }


def _is_function(given: object) -> bool:
    return callable(given) and not isinstance(given, type)


def _media_of(value: Any) -> list[Any]:
    """Return the images and files that a value of a prompt is; empty for any other value."""
    parts = value if isinstance(value, list | tuple) else [value]
    return [*parts] if all(map(is_media, parts)) else []


def _type_name(type: type | str | None) -> str | None:
    return type if type is None or isinstance(type, str) else type.__name__


def _parts_of(
    asking: LLMResponder, pattern: Iterable[str], about: str | None, kit: Kit, has_tools: bool
) -> list[Responder]:
    """Return the responders that ask a model, handle its answers, and return results of tools."""

    def part(suffix: str, pattern: str, fn: Callable[..., Any]) -> Responder:
        names = [f"{each}{suffix}" for each in asking.was]
        return Responder(f"{asking.name}{suffix}", frozenset({pattern}), fn, was=names, kit=kit)

    first = Responder(
        asking.name,
        frozenset(pattern),
        asking.on_event,
        object_type=about,
        was=asking.was,
        kit=kit,
    )
    parts = [first, part(".answer", LLM_RESPONSE, asking.on_answer)]
    return [*parts, part(".tool", TOOL_RETURNED, asking.on_tool)] if has_tools else parts
