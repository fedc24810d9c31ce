"""The API's description of itself: the routes it lists, and the statuses that they may answer with."""

from __future__ import annotations


def test_every_route_tells_its_errors_and_none_that_it_never_gives(client):
    schema = client.get("/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/responses", "/v1/lessons/{lesson_id}", "/v1/mcp"} <= set(schema["paths"])
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"], path
            assert {"400", "401", "403", "404", "412", "413", "429"} <= set(operation["responses"]), path
    assert "HTTPValidationError" not in schema["components"]["schemas"]
    assert "text/event-stream" in schema["paths"]["/v1/chat/completions"]["post"]["responses"]["200"]["content"]
