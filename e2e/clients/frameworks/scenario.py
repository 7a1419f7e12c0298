"""A scripted model: which tools it calls, turn by turn, and the results it sees.

Script: {connect: {command, args} | {url, issuer, agent, key_file}, turns: [{pause, calls: [{name, arguments}]}]}. Before a
turn with a `pause`, the program prints `{"pause": NAME}` and waits for a line on standard input. At the end it prints
`{"seen": [[text of each result] of each turn], "final_text": the final text as the framework returns it}`.
"""

import asyncio
import json
import sys

from remit_agent import Agent

FINAL_TEXT = "done"


class Scenario:
    def __init__(self):
        with open(sys.argv[1], encoding="utf-8") as file:
            script = json.load(file)
        self.connect, self.turns, self.seen, self.turn = script["connect"], script["turns"], [], 0

    @property
    def over_stdio(self):
        return "command" in self.connect

    def agent(self):
        return Agent(self.connect["issuer"], self.connect["agent"], self.connect["key_file"])

    async def next(self, results):
        """Takes all tool results so far and returns the calls of the next turn, none at the end."""
        if self.turn > 0:
            wanted = len(self.turns[self.turn - 1]["calls"])
            self.seen.append([as_text(result) for result in results[-wanted:]])
        if self.turn == len(self.turns):
            return []
        turn, self.turn = self.turns[self.turn], self.turn + 1
        if "pause" in turn:
            print(json.dumps({"pause": turn["pause"]}), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        return [{"id": f"call-{self.turn}-{place}", **call} for place, call in enumerate(turn["calls"])]

    def report(self, final_text):
        print(json.dumps({"seen": self.seen, "final_text": final_text}), flush=True)


def as_text(result):
    return result if isinstance(result, str) else json.dumps(result, default=str)
