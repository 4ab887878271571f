"""The HTTP API: durable tasks (`/ask`, `/result`) and an OpenAI-compatible face (`/v1`)."""
