"""What schemathesis is told of the document besides what is in it."""

import os
from itertools import count

import schemathesis
from schemathesis import GenerationMode

# The namespace of a run, and the instance that it is.
NAMESPACE = "sparkbatch-schemathesis"
# What generates data makes a length part of a pattern: with up to 131072 of anything, one batch takes a second.
LONGEST = 300
# Parameters that make an answer go on for ever. The tests of the facade follow these.
STREAMS = ["Watch", "Follow"]
# Two servers are asked at once in one namespace.
RUN, NUMBERS = os.getpid(), count(1)


@schemathesis.hook
def before_load_schema(_context, document):
    parameters = document["components"]["parameters"]
    for name in "Namespace", "Instance":
        parameters[name]["schema"] = {"const": NAMESPACE}
    endless = [{"$ref": f"#/components/parameters/{name}"} for name in STREAMS]
    for operation in (operation for path in document["paths"].values() for operation in path.values()):
        operation["parameters"] = [each for each in operation["parameters"] if each not in endless]
    unbind(document["components"]["schemas"])
    # Everybody may call this facade, whatever they say of themselves.
    document["security"] = []


@schemathesis.hook
def filter_query(_context, query):
    """What is negated into an empty object is not sent at all, and nothing would be wrong with the request."""
    return not query or {} not in query.values()


@schemathesis.hook
def before_call(_context, case, _kwargs):
    """No two batches of a namespace have one name, which no schema can say."""
    is_valid = case.meta and case.meta.generation.mode == GenerationMode.POSITIVE
    if is_valid and isinstance(case.body, dict) and case.body.get("name") is not None:
        case.body["name"] = f"{str(case.body['name'])[:200]} {RUN}-{next(NUMBERS)}"


def unbind(schema):
    """Takes away the bounds that no generated text reaches."""
    if isinstance(schema, dict):
        longest = schema.get("maxLength")
        if isinstance(longest, int) and longest > LONGEST:
            del schema["maxLength"]
    for below in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        unbind(below)
