"""What Chrome's viewers ask of a trace: the phases of its "Trace Event Format" that clgrad writes."""


def check_trace(document: dict) -> None:
    """What the Trace Event Format asks for, of the phases that are used."""
    assert document["displayTimeUnit"] in ("ms", "ns")
    slices: dict = {}
    arrows: dict = {"s": {}, "f": {}}
    for event in document["traceEvents"]:
        assert isinstance(event["name"], str)
        assert {"ph", "pid", "tid"} <= event.keys()
        assert all(isinstance(event[key], int) and 0 <= event[key] < 2**31 for key in ("pid", "tid"))
        phase = event["ph"]
        if phase == "M":
            assert event["name"] in ("process_name", "process_sort_index", "thread_name")
            assert len(event["args"]) == 1
            continue
        assert event["ts"] >= 0
        if phase == "X":
            assert event["dur"] >= 0
            slices.setdefault((event["pid"], event["tid"]), []).append(event)
        elif phase in "sf":
            arrows[phase][event["id"]] = event
            assert phase == "s" or event["bp"] == "e"
        elif phase == "C":
            assert all(isinstance(value, int | float) for value in event["args"].values())
        elif phase == "i":
            assert event["s"] in "gpt"
        else:
            assert phase in "be"
            assert {"id", "cat"} <= event.keys()
    assert arrows["s"].keys() == arrows["f"].keys()
    assert all(arrows["s"][i]["ts"] <= arrows["f"][i]["ts"] + 1000 for i in arrows["s"])
    for row in slices.values():
        check_nesting(row)


def check_nesting(row: list[dict]) -> None:
    """Slices of a row lie in each other or apart: viewers drop those that overlap by half."""
    around: list[float] = []
    for event in sorted(row, key=lambda e: (e["ts"], -e["dur"])):
        while around and around[-1] <= event["ts"]:
            around.pop()
        end = event["ts"] + event["dur"]
        assert not around or end <= around[-1] + 1e-6
        around.append(end)
