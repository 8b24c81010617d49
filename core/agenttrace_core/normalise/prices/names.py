"""The many spellings of providers and models, as telemetry has them."""

from __future__ import annotations

import re
from collections.abc import Iterator

UNLISTED = frozenset(
    {
        "ollama", "vllm", "lmstudio", "lm_studio", "lm-studio", "llamafile", "llama.cpp", "llamacpp", "llama_cpp",
        "local", "localai", "sglang", "tgi", "xinference", "mlx", "transformers",
        "crusoe", "huggingface", "hugging_face", "ibm.watsonx.ai", "nvidia", "replicate", "sagemaker", "snowflake",
        "watsonx",
    }
)  # fmt: skip
"""Providers that run others' models, on one's own machine or for prices that are in no list.

A model that runs there has no price, whatever its maker takes for it.
"""

OWN_MODELS_ONLY = frozenset({"anthropic", "cohere", "deepseek", "google", "mistral", "openai", "x-ai"})
"""Providers of no models but their own. Where one is named with another's model, its client was used for that."""

MAX_NAME = 256
"""A name longer than that is none."""

# Prefixes, in the order tried. OpenTelemetry's names, and those that its predecessors and the Vercel AI SDK write.
_PREFIXES = (
    ("az.ai.", "azure"), ("azure", "azure"), ("microsoft.foundry", "azure"), ("gcp.", "google"), ("aws", "aws"),
    ("x_ai", "x-ai"), ("x-ai", "x-ai"), ("xai", "x-ai"), ("grok", "x-ai"),
    ("together.ai", "together"), ("togetherai", "together"), ("fireworks", "fireworks"), ("perplexity", "perplexity"),
    ("deepseek", "deepseek"), ("groq", "groq"), ("moonshot", "moonshotai"), ("openrouter", "openrouter"),
    ("zhipu", "zhipuai"), ("minimax", "minimax"), ("novita", "novita"),
)  # fmt: skip

MAKERS_ON_AWS = ("amazon", "anthropic", "meta", "mistral", "cohere", "deepseek", "ai21", "qwen", "openai")
"""What Bedrock writes before its models' names, and some senders take off."""

_ON_AWS = re.compile(rf"(?:[a-z]{{2,6}}\.)?(?:{'|'.join(MAKERS_ON_AWS)})\.")

# What stands before a model's name and says where it runs, not which it is.
_PLACES = frozenset({"models", "model", "publishers", "deployments", "bedrock", "converse", "invoke", "vertex_ai",
                     "foundation-model", "chat", "responses", "completion"})  # fmt: skip
_VERSION = re.compile(r"(?:[-@](?:\d{8}|\d{4}-\d{2}-\d{2}|latest|default|preview))+$")


def provider_ids(provider: str) -> Iterator[str]:
    """Iterate over what the prices' provider may be called, the likeliest first."""
    name = provider.strip().lower()
    for prefix, known in _PREFIXES:
        if name.startswith(prefix):
            yield known
    yield name
    yield name.replace("_", "-")
    yield name.partition(".")[0]


def model_names(model: str) -> Iterator[str]:
    """Iterate over what the prices' model may be called: as it came, without where it runs, without its date."""
    name = model.strip().lower()
    for spelled in dict.fromkeys(_shorter(name)):
        yield spelled
    for spelled in dict.fromkeys(_shorter(name)):
        undated = _VERSION.sub("", spelled)
        if undated != spelled:
            yield undated


def is_on_aws(model: str) -> bool:
    """Say whether a model is named as Bedrock names them: ``us.amazon.nova-pro-v1:0``."""
    return _ON_AWS.match(model.strip().lower()) is not None


def split_provider(model: str) -> tuple[str, str] | None:
    """Return ``provider/model`` as two, as gateways write it; None if it is not written so."""
    provider, slash, rest = model.strip().partition("/")
    return (provider, rest) if slash and provider and rest else None


def _shorter(name: str) -> Iterator[str]:
    yield name
    # Resource names: projects/P/locations/L/publishers/google/models/M, arn:aws:bedrock:…:foundation-model/M
    for marker in ("/models/", "foundation-model/", "inference-profile/"):
        before, found, last = name.rpartition(marker)
        if found and before:
            yield last
    while "/" in name:
        first, _, rest = name.partition("/")
        if (
            first not in _PLACES
            and not any(first.startswith(prefix) for prefix, _ in _PREFIXES)
            and first not in _MAKERS
        ):
            return
        name = rest
        yield name


_MAKERS = frozenset({"openai", "anthropic", "google", "gemini", "mistral", "mistralai", "cohere", "meta", "bedrock"})
