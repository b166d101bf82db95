"""Runs Autobahn|Testsuite's fuzzing client: `python2.7 fuzzingclient.py SITE SPEC`.

SITE is the folder that the suite is installed in. SPEC is a file in the suite's own JSON format with one
key more: a server may have `headers`, an object of request headers. (The suite itself knows url, agent,
origin, protocols, hostname and options.) Into the spec's `outdir` go `cases.json`, the ids of the selected
cases, at once, and the suite's JSON reports at the end, also when SIGTERM makes the end.

This is the only file here that CPython 2.7 runs. Nothing of the installed suite is changed on disk.
"""
# mypy: ignore-errors

import json
import os
import sys

SITE, SPEC = sys.argv[1:]
# The first entry was this script's own folder, in which the name `autobahn` means another module.
sys.path[0] = SITE

# The suite comes first: it chooses the reactor.
from autobahntestsuite import fuzzing  # noqa: E402
from twisted.internet import reactor  # noqa: E402

# The suite fails a case whose answer takes longer than, mostly, one second: too little on a machine that is
# busy with something else. While a server conforms these timers do not fire, so that more patience costs
# nothing.
PATIENCE = 5


class FuzzingClient(fuzzing.FuzzingClientFactory):
    def nextServer(self):
        found = fuzzing.FuzzingClientFactory.nextServer(self)
        if found:
            self.headers = self.spec["servers"][self.currServer].get("headers", {})
        return found

    def createReports(self, produceHtml=False, produceJson=True):
        fuzzing.FuzzingClientFactory.createReports(self, produceHtml, produceJson)


def with_patience(start_timer):
    def start_longer_timer(protocol, delay):
        start_timer(protocol, PATIENCE * delay)

    return start_longer_timer


def main():
    fuzzing.FuzzingProtocol.killAfter = with_patience(fuzzing.FuzzingProtocol.killAfter)
    fuzzing.FuzzingProtocol.closeAfter = with_patience(fuzzing.FuzzingProtocol.closeAfter)
    with open(SPEC) as file:
        spec = json.load(file)
    client = FuzzingClient(spec)
    with open(os.path.join(spec["outdir"], "cases.json"), "w") as file:
        json.dump(client.specCases, file)
    reactor.run()
    client.createReports()


main()
