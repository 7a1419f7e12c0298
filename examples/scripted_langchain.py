"""Stands in for two language models: each asks for the next tool of its list, then answers with the last results."""

from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from scripted import PLANNER, SUMMARIZER, answer


class Scripted(BaseChatModel):
    calls: list[Any]

    @property
    def _llm_type(self):
        return "scripted"

    def bind_tools(self, tools, **kwargs):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **kwargs):
        results = [str(message.content) for message in messages if isinstance(message, ToolMessage)]
        if len(results) == len(self.calls):
            message = AIMessage(answer(results))
        else:
            name, arguments = self.calls[len(results)]
            message = AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": name, "type": "tool_call"}])
        return ChatResult(generations=[ChatGeneration(message=message)])


planner_model, summarizer_model = Scripted(calls=PLANNER), Scripted(calls=SUMMARIZER)
