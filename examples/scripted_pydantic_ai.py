"""Stands in for two language models: each asks for the next tool of its list, then answers with the last results."""

from pydantic_ai.messages import ModelResponse, RetryPromptPart, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel
from scripted import PLANNER, SUMMARIZER, answer


def scripted(calls):
    def model(messages, info):
        parts = [part for message in messages for part in message.parts]
        results = [str(part.content) for part in parts if isinstance(part, ToolReturnPart | RetryPromptPart)]
        if len(results) == len(calls):
            return ModelResponse(parts=[TextPart(answer(results))])
        return ModelResponse(parts=[ToolCallPart(*calls[len(results)])])

    return FunctionModel(model)


planner_model, summarizer_model = scripted(PLANNER), scripted(SUMMARIZER)
