"""The class of a kit, which its author declares a domain with."""

# long: one class whose methods are the reference of kit authors; most lines are their docstrings.

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import attrs

from kando.errors import ConfigurationError
from kando.kit._checks import check_kit
from kando.kit._conversations import (
    conversation_responder,
    parts_of,
    seeds_of,
    type_of_conversation,
)
from kando.kit._prompts import filled, messages_from
from kando.kit._servers import calls_tools, takes_added_servers, tools_and_servers
from kando.kit._settings import check_settings, tools_with
from kando.kit._tools import decorated, schemas_of
from kando.kit._types import (
    Demo,
    RelationType,
    check_object_type,
    claim,
    is_function,
    type_name,
)
from kando.responders.base import Responder, Retry
from kando.responders.chats import compaction_of
from kando.responders.compaction import Compaction
from kando.responders.edge import check_relation_type, edge_responder
from kando.responders.executor import ToolExecutorResponder
from kando.responders.llm_responder import CONVERSATION, LLMResponder
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
from kando.schema.events import (
    HUMAN_MESSAGE,
    OBJECT_CREATED,
    RUN_CANCELLED,
    TOOL_CALLED,
    KandoEvent,
)
from kando.schema.upcasting import Upcaster
from kando.world.graph import World

__all__ = ["Kit"]

_Class = TypeVar("_Class")
_Function = TypeVar("_Function", bound=Callable[..., Any])


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
        check_object_type(self.name, cls)
        claim(self.name, [*self.object_types, CONVERSATION], cls.__name__, "object type")
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
        check_settings(self.name, cls, self.settings_class, self.tools)
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
        claim(self.name, self.relation_types, name, "relation type")
        self.relation_types[name] = RelationType(name, type_name(source), type_name(target))
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
                    object_type=type_name(type),
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
        accepts_cut: bool = False,
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
            accepts_cut: whether an answer that was cut off at ``max_tokens`` counts with the items
                of its lists that are whole: ``is_cut`` of its ``Conversation`` is true then. Else
                it is a failure.
            options: further fields of the request: ``model``, ``max_tokens``, ``temperature``,
                ``effort``, ``thinking`` and others, as for `kando.emit.ask`. A value may be a
                function of the world: ``model=lambda world: world.settings(Settings).model``.

        Raises:
            NotFoundError: the kit has no such prompt or tool.
            ConfigurationError: an option cannot be honoured, or has a value of another type; or
                `pattern` is not made of event types.
        """
        self._check_types("llm_responder", pattern)
        check_options(
            {name: each for name, each in options.items() if not callable(each)},
            f"kit {self.name!r}",
        )
        messages = messages_from(self, prompt, system)
        schemas, servers = tools_and_servers(self, list(tools))

        def decorate(fill: Callable[[Any, World], Mapping[str, Any] | None]) -> LLMResponder:
            base = name or f"{self.name}.{fill.__name__}"
            responder = LLMResponder(
                base, fill, messages, output, many, relation, {}, max(max_turns, 1)
            )
            responder.options = request_options(responder.answer_class(), schemas, options)
            responder.was = self._qualified(was)
            responder.continues = conversation
            responder.compaction = compaction_of(compaction, window)
            responder.servers, responder.accepts_cut = servers, accepts_cut
            self.responders += parts_of(responder, pattern, type_name(type), self)
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
        home = type_of_conversation(name)
        self.object(home)
        responder = conversation_responder(
            self,
            name,
            home.__name__,
            system=system,
            tools=tools,
            max_turns=max_turns,
            compaction=compaction,
            window=window,
            was=self._qualified(was),
            options=options,
        )
        self.conversations[name] = responder
        self.responders += parts_of(responder, (HUMAN_MESSAGE,), None, self)
        if self.seed is None:
            self.seed = seeds_of(self)
        return responder

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
        bare: Any = decorated(self.name, name)

        def decorate(fn: _Function) -> _Function:
            named = name if isinstance(name, str) else fn.__name__
            claim(self.name, [*self.tools, *self.tool_servers], named, "tool")
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
        claim(self.name, [*self.tools, *self.tool_servers], name, "tool")
        self.tool_servers[name] = server
        return name

    def takes_added_servers(self) -> bool:
        """Whether a model of the kit may call tools, also of servers that a person adds to a run."""
        return takes_added_servers(self)

    def tool_schemas(self, names: Iterable[str] | None = None) -> list[dict[str, Any]]:
        """Return ``{"name", "description", "parameters"}`` of each tool, as requests hold them.

        Args:
            names: of the tools; all tools of the kit if omitted.

        Raises:
            NotFoundError: the kit has no such tool.
        """
        return schemas_of(self.name, self.tools, names)

    @overload
    def policy(self, fn: _Function, /) -> _Function: ...

    @overload
    def policy(
        self, *on: str, type: type | str | None = None
    ) -> Callable[[_Function], _Function]: ...

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
            self.policies.append(as_policy(fn, types or default, type_name(type)))
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
        return filled(self, name, values)

    def _function_or_types(
        self, decorator: str, given: tuple[Any, ...]
    ) -> tuple[Any, tuple[str, ...]]:
        """Return the function that a decorator without parentheses is given, else the event types."""
        if len(given) == 1 and is_function(given[0]):
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
        return [*order, f"{self.name}.tools"] if calls_tools(self) else order

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
        if calls_tools(self):
            name = f"{self.name}.tools"
            known = {**(tools or {}), **tools_with(self.tools, self.settings_class, settings or {})}
            created.append(attrs.evolve(ToolExecutorResponder(known, name=name), kit=self))
        return created
