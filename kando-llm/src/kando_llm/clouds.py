"""The providers ``bedrock`` and ``vertex``: Claude models on the servers of Amazon and Google.

Requests go through Anthropic's own clients for them. The cloud's credentials sign each request to the
cloud's own server: those in the environment, else those that the cloud's library finds on this machine.
A server that is set with ``..._BASE_URL`` gets the ``..._ENDPOINT_KEY``, or no key.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from kando_llm.anthropic import send_messages
from kando_llm.endpoints import SERVERS, Endpoint, Server, endpoint_of
from kando_llm.errors import MissingKey, ProviderError
from kando_llm.live_provider import Connection, LiveProvider, connection_of
from kando_llm.sdk import sdk_provider

__all__ = ["open_bedrock", "open_vertex"]

_REGION = re.compile(r"[a-z0-9-]{1,60}")
_PROJECT = re.compile(r"[a-zA-Z0-9.:_-]{1,100}")
_ANY_REGION = "us-east-1"
_NO_KEY = "none"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def open_bedrock(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to Amazon Bedrock.

    Args:
        argument: the model, or an inference profile; ``BEDROCK_MODEL`` if empty.
        environ: ``AWS_REGION``, credentials and settings.

    Raises:
        MissingKey: no credentials are found.
        ProviderError: the extra is not installed, or a setting is malformed.
    """
    server = SERVERS["bedrock"]
    _require_extra("bedrock", "boto3")
    profile = _first(environ, "AWS_PROFILE", "AWS_DEFAULT_PROFILE")
    region = _first(environ, "AWS_REGION", "AWS_DEFAULT_REGION")
    has_own_url = bool(_first(environ, "BEDROCK_BASE_URL"))
    if not region:
        region = _ANY_REGION if has_own_url else _region_of_profile(profile)
    if not region:
        msg = "No region is set for provider 'bedrock'."
        raise ProviderError(msg, hint="Set AWS_REGION, to us-east-1 for example.")
    server = _in_region(server, _checked(region, "AWS_REGION", _REGION), server.base_url)
    endpoint = endpoint_of(server, environ)
    credentials = _aws_credentials(endpoint, profile, environ)
    secrets = {
        name: value
        for name, value in (
            ("AWS_SECRET_ACCESS_KEY", credentials.get("aws_secret_key")),
            ("AWS_SESSION_TOKEN", credentials.get("aws_session_token")),
        )
        if value
    }

    def client(api_key: str, **given: Any) -> Any:
        from anthropic import AnthropicBedrock

        # With a key, it reads no other from the environment.
        made = AnthropicBedrock(api_key=api_key, aws_region=region, **given)
        made.api_key = credentials.get("api_key")
        made.aws_access_key = credentials.get("aws_access_key")
        made.aws_secret_key = credentials.get("aws_secret_key")
        made.aws_session_token = credentials.get("aws_session_token")
        made.aws_profile = credentials.get("aws_profile")
        return made

    return _provider(client, connection_of(server, argument, environ, secrets))


def open_vertex(argument: str, environ: Mapping[str, str]) -> LiveProvider:
    """Return a provider that sends requests to Vertex AI of Google Cloud.

    Args:
        argument: the model; ``VERTEX_MODEL`` if empty.
        environ: ``ANTHROPIC_VERTEX_PROJECT_ID``, ``CLOUD_ML_REGION``, credentials and settings.

    Raises:
        MissingKey: no credentials are found.
        ProviderError: the extra is not installed, or a setting is missing or malformed.
    """
    server = SERVERS["vertex"]
    _require_extra("vertex", "google.auth")
    region = _first(environ, "CLOUD_ML_REGION", "GOOGLE_CLOUD_LOCATION") or "global"
    region = _checked(region, "CLOUD_ML_REGION", _REGION)
    # Places that are not one region have hosts of another form.
    hosts = {"global": "aiplatform.googleapis.com"}
    hosts |= {each: f"aiplatform.{each}.rep.googleapis.com" for each in ("us", "eu")}
    url = f"https://{hosts[region]}/v1" if region in hosts else server.base_url
    server = _in_region(server, region, url if "{region}" in server.base_url else server.base_url)
    endpoint = endpoint_of(server, environ)
    project = _first(environ, "ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")
    found: Any = None
    if endpoint.is_own and not endpoint.key:
        found, of_credentials = _google_credentials()
        project = project or of_credentials or ""
    if not project:
        msg = "No project is set for provider 'vertex'."
        raise ProviderError(msg, hint="Set ANTHROPIC_VERTEX_PROJECT_ID to the project's id.")
    _checked(project, "ANTHROPIC_VERTEX_PROJECT_ID", _PROJECT)

    def client(api_key: str, **given: Any) -> Any:
        from anthropic import AnthropicVertex

        token = None if found is not None else api_key
        return AnthropicVertex(
            region=region, project_id=project, access_token=token, credentials=found, **given
        )

    return _provider(client, connection_of(server, argument, environ))


def _provider(client: Callable[..., Any], connection: Connection) -> LiveProvider:
    import anthropic

    return sdk_provider(anthropic, client, connection, send_messages)


def _require_extra(provider: str, module: str) -> None:
    """Refuse to open a provider whose library is not installed.

    Raises:
        ProviderError: it is not.
    """
    try:
        is_installed = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        is_installed = False
    if not is_installed:
        msg = f"Provider {provider!r} needs a library that is not installed."
        raise ProviderError(msg, hint=f"Install it: pip install 'kando-llm[{provider}]'")


def _first(environ: Mapping[str, str], *names: str) -> str:
    """Return the first variable that is set; empty if none is."""
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _checked(value: str, name: str, form: re.Pattern[str]) -> str:
    # It becomes part of a URL.
    if form.fullmatch(value):
        return value
    msg = f"{name} is malformed: {value!r:.60}."
    raise ProviderError(msg, hint=f"Set {name} to a name such as us-east-1 or my-project.")


def _in_region(server: Server, region: str, url: str) -> Server:
    return attrs.evolve(server, base_url=url.replace("{region}", region))


def _aws_credentials(
    endpoint: Endpoint, profile: str, environ: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the attributes of the SDK's client that hold credentials.

    Raises:
        MissingKey: no credentials are found.
    """
    if not endpoint.is_own:
        id, split, rest = endpoint.key.partition(":")
        if not split:
            return {"api_key": endpoint.key or _NO_KEY}
        secret, _, token = rest.partition(":")
        return _key_pair(id, secret, token)
    if endpoint.key:
        return {"api_key": endpoint.key}
    id, secret = _first(environ, "AWS_ACCESS_KEY_ID"), _first(environ, "AWS_SECRET_ACCESS_KEY")
    if id and secret:
        return _key_pair(id, secret, _first(environ, "AWS_SESSION_TOKEN"))
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        is_found = boto3.Session(profile_name=profile or None).get_credentials() is not None
        reason = "none are found"
    except BotoCoreError as error:
        is_found, reason = False, str(error).rstrip(".")
    if is_found:
        return {"aws_profile": profile or None}
    msg = f"Provider 'bedrock' needs credentials of AWS: {reason}."
    hint = "Set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE."
    raise MissingKey(msg, hint=hint)


def _key_pair(id: str, secret: str, token: str) -> dict[str, str | None]:
    return {
        "aws_access_key": id,
        "aws_secret_key": secret,
        "aws_session_token": token or None,
    }


def _region_of_profile(profile: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError

    try:
        return str(boto3.Session(profile_name=profile or None).region_name or "")
    except BotoCoreError as error:
        msg = f"The AWS profile {profile!r} cannot be used: {str(error).rstrip('.')}."
        raise ProviderError(msg, hint="Check AWS_PROFILE, or set AWS_REGION.") from None


def _google_credentials() -> tuple[Any, str | None]:
    """Return the application default credentials, and the project that they belong to.

    Raises:
        MissingKey: no credentials are found.
    """
    import google.auth
    from google.auth.exceptions import GoogleAuthError

    try:
        found, project = google.auth.default(scopes=[_SCOPE])
        return found, project
    except GoogleAuthError as error:
        reason = str(error).partition(".")[0]
    msg = f"Provider 'vertex' needs credentials of Google Cloud: {reason}."
    hint = "Sign in: gcloud auth application-default login; or set GOOGLE_APPLICATION_CREDENTIALS."
    raise MissingKey(msg, hint=hint)
