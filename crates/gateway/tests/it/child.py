import json, os, sys, threading

MODE = os.environ.get("MODE", "legacy")
release = threading.Event()
answered = threading.Event()
answers = []
lock = threading.Lock()
era = None
NOISE = {
    "nonsense": "Traceback (most recent call last):",
    "json-log": '{"level": "info", "msg": "listening"}',
    "null-error": '{"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "Parse error"}}',
    "batch": '[{"jsonrpc": "2.0", "id": 1, "result": {}}]',
    "blank": "\xff\x00 \t",
}


def say(message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def answer(message, result):
    if era == "server/discover":
        result["resultType"] = "complete"
    say({"jsonrpc": "2.0", "id": message["id"], "result": result})


def structured(message, value):
    answer(message, {"content": [], "structuredContent": value})


def progress(message):
    token = message["params"]["_meta"]["progressToken"]
    say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    release.wait()
    structured(message, {"done": True})


def question(message):
    answered.clear()
    say({"jsonrpc": "2.0", "id": "q-1", "method": "elicitation/create", "params": {"message": "sure?"}})
    answered.wait()
    structured(message, {"answer": answers[-1].get("result")})


def chatter(message):
    token = message["params"]["_meta"]["progressToken"]
    for number in range(20000):
        params = {"progressToken": token, "progress": number, "message": "x" * 1000}
        say({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
    structured(message, {"done": True})


def call(message):
    name = message["params"]["name"]
    if name == "echo":
        structured(message, {"arguments": message["params"].get("arguments")})
    elif name == "era":
        structured(message, {"era": era})
    elif name == "environment":
        structured(message, {"names": list(os.environ)})
    elif name == "pid":
        structured(message, {"pid": os.getpid()})
    elif name == "die":
        os._exit(1)
    elif name in NOISE:
        with lock:
            sys.stdout.write(NOISE[name] + "\n")
        structured(message, {"said": name})
    elif name == "flood":
        sys.stdout.write("[" * 100000)
        sys.stdout.flush()
    elif name == "progress":
        threading.Thread(target=progress, args=(message,), daemon=True).start()
    elif name == "question":
        threading.Thread(target=question, args=(message,), daemon=True).start()
    elif name == "chatter":
        threading.Thread(target=chatter, args=(message,), daemon=True).start()
    elif name == "release":
        release.set()
        structured(message, {})


for line in sys.stdin:
    message = json.loads(line)
    method = message.get("method")
    if method is None:
        answers.append(message)
        answered.set()
        continue
    if method == "server/discover":
        if MODE == "dies-on-probe":
            os._exit(2)
        if MODE == "modern":
            era = method
            answer(message, {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
        else:
            say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "unknown"}})
    elif method == "initialize":
        if MODE == "modern":
            say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "unknown"}})
            continue
        era = method
        answer(message, {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "child", "version": "1"}})
    elif method == "tools/call":
        call(message)

while MODE == "stubborn":
    threading.Event().wait(3600)
