"""The proxy's prompts, from Detent: `prompt_id` of a request names a family, and `user` keeps one version of it."""

import os

from detent_client import Client
from detent_client.adapters.litellm import DetentPrompts

detent = Client(
    os.environ.get("DETENT_SERVER", "http://127.0.0.1:8321"),
    os.environ.get("DETENT_API_KEY"),
    fallback={"triage": "Is this request about billing or technical? Answer with one word.\n\n{{message}}"},
)
# Names of this proxy's model list, by those of Detent's config/models.yaml. They are the same here.
prompts = DetentPrompts(detent, models={"gpt-4o-mini": "gpt-4o-mini", "gpt-4o": "gpt-4o"})
