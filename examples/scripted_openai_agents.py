"""Stands in for two language models: each asks for the next tool of its list, then answers with the last results."""

import json

from agents import Model, ModelResponse, Usage, set_tracing_disabled
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText
from scripted import PLANNER, SUMMARIZER, answer

set_tracing_disabled(True)


class Scripted(Model):
    def __init__(self, calls):
        self.calls = calls

    async def get_response(self, system_instructions, input, *args, **kwargs):
        items = [] if isinstance(input, str) else input
        results = [text_of(item["output"]) for item in items if item.get("type") == "function_call_output"]
        if len(results) == len(self.calls):
            text = ResponseOutputText(type="output_text", text=answer(results), annotations=[])
            output = ResponseOutputMessage(id="last", type="message", role="assistant", status="completed", content=[text])
        else:
            name, arguments = self.calls[len(results)]
            arguments = json.dumps({"input": arguments["ticket"]} if name == "summary_of" else arguments)
            output = ResponseFunctionToolCall(type="function_call", call_id=name, name=name, arguments=arguments)
        return ModelResponse(output=[output], usage=Usage(), response_id=None)

    def stream_response(self, *args, **kwargs):
        raise NotImplementedError


def text_of(output):
    return output if isinstance(output, str) else json.dumps(output, default=str)


planner_model, summarizer_model = Scripted(PLANNER), Scripted(SUMMARIZER)
