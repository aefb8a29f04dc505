"""The plans of statements, also of those inside functions, as auto_explain tells them to the session that runs them."""
import json


def explain(session, analyze=False):
    """From now on the session is told; with what each node really did, but not how long it took."""
    session.execute("load 'auto_explain'; set auto_explain.log_min_duration = 0; set auto_explain.log_nested_statements = on;"
                    f" set auto_explain.log_analyze = {'on' if analyze else 'off'}; set auto_explain.log_timing = off;"
                    " set auto_explain.log_format = json; set client_min_messages = log")


def plans_of(session, do):
    """What `do` ran, in the order in which it ended."""
    session.connection.notices.clear()
    do()
    return [json.loads(notice[notice.index("{"):])["Plan"] for notice in session.connection.notices if "plan:" in notice]


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)
