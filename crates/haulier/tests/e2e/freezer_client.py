"""Talks to a server as python-freezerclient does: argv is the server's URL and a token. Any failure is a traceback."""

import sys

from keystoneauth1 import session
from keystoneauth1 import token_endpoint

from freezerclient import exceptions
from freezerclient.v1 import client as freezer

url, token = sys.argv[1:]
login = session.Session(auth=token_endpoint.Token(url, token))
api = freezer.Client(session=login, endpoint=url)


def refused(status, call, *args):
    try:
        call(*args)
    except exceptions.ApiClientException as error:
        assert "Error %d" % status in str(error), error
        return str(error)
    raise AssertionError("%s was not refused" % call)


# Clients
assert api.clients.create({"client_id": "p1_alpha", "hostname": "alpha", "description": "the first"}) == "p1_alpha"
assert api.clients.create({"client_id": "p1_beta"}) == "p1_beta"
assert "already" in refused(409, api.clients.create, {"client_id": "p1_beta"})
shown = api.clients.get("p1_alpha")
assert shown["client"]["hostname"] == "alpha" and len(shown["client"]["uuid"]) == 32, shown
assert [one["client"]["client_id"] for one in api.clients.list()] == ["p1_alpha", "p1_beta"]
assert len(api.clients.list(search={"match": [{"_all": "FIRST"}]})) == 1
assert api.clients.get("nobody") is None
api.clients.delete("p1_beta")
assert api.clients.get("p1_beta") is None

# Jobs and their events
action = {"action": "backup", "mode": "fs", "container": "c", "backup_name": "n", "path_to_backup": "/etc"}
document = {"client_id": "p1_alpha", "job_actions": [{"freezer_action": action}], "job_schedule": {"schedule_interval": "5 minutes"}}
job = api.jobs.create(dict(document))
assert api.jobs.create(dict(document), job_id="named") == "named"
assert [one["job_id"] for one in api.jobs.list(client_id="p1_alpha")] == [job, "named"]
assert api.jobs.list(client_id="p1_beta") == []
assert len(api.jobs.list_all(limit=1, offset=1)) == 1
assert api.jobs.list(client_id="p1_alpha", search={"match_not": [{"job_id": "named"}]})[0]["job_id"] == job
assert api.jobs.update(job, {"description": "x"}) == 2
assert api.jobs.start_job(job) == {"result": "success"}
assert api.jobs.start_job(job) == {"result": "start already requested"}
assert api.jobs.stop_job(job) == {"result": "success"}
assert api.jobs.abort_job(job) == {"result": "success"}
shown = api.jobs.get(job)
assert shown["_version"] == 5 and shown["job_schedule"]["event"] == "abort", shown
assert "schedule_interval" in refused(400, api.jobs.update, job, {"job_schedule": {"schedule_interval": "1 day"}})
assert api.jobs.get("nothing") is None

# Actions
made = api.actions.create(dict(action))
assert api.actions.get(made)["container"] == "c"
assert api.actions.update(made, {"container": "d"}) == 2
assert len(api.actions.list(limit=100)) == 3, "one for each job, and this"
api.actions.delete(made)
assert api.actions.get(made) is None

# Sessions
night = api.sessions.create({"description": "night", "schedule": {"schedule_hour": "3"}})
for one in (job, "named"):
    api.sessions.add_job(night, one)
assert api.jobs.get(job)["session_id"] == night
assert api.sessions.start_session(night, job, 0) == {"result": "success", "session_tag": 1}
assert api.sessions.start_session(night, "named", "0") == {"result": "success", "session_tag": 1}
assert api.sessions.start_session(night, job, 1)["result"] == "hold-off"
refused(400, api.sessions.start_session, night, job, 9)
for one in (job, "named"):
    assert api.sessions.end_session(night, one, 1, "success")["result"] == "success"
assert api.sessions.get(night)["status"] == "completed"
assert len(api.sessions.list()) == 1 and len(api.sessions.list_all()) == 1
assert api.sessions.update(night, {"hold_off": 5}) > 1
api.sessions.remove_job(night, job)
assert list(api.sessions.get(night)["jobs"]) == ["named"]
api.sessions.delete(night)
assert api.sessions.get(night) is None

# Backups and searches
ids = []
for number in range(25):
    ids.append(api.backups.create({"container": "c%d" % (number % 2), "hostname": "alpha", "backup_name": "n",
                                   "curr_backup_level": "", "time_stamp": 1000 + number, "log_file": "~/all.log"}))
assert [one["backup_id"] for one in api.backups.list(limit=100)] == ids
assert [one["backup_id"] for one in api.backups.list(limit=10, offset=20)] == ids[20:]
found = api.backups.list(limit=100, search={"match": [{"container": "c1"}], "time_after": 1010, "time_before": "1013"})
assert [one["backup_metadata"]["time_stamp"] for one in found] == [1011, 1013], found
assert len(api.backups.list(search={"match": [{"_all": '[{"container": "c0"}, {"time_stamp": "1004"}]'}]})) == 1
shown = api.backups.get(ids[0])
assert shown["backup_metadata"]["curr_backup_level"] == "" and shown["user_id"] == "ann", shown
api.backups.delete(ids[0])
assert api.backups.get(ids[0]) is None and len(api.backups.list(limit=100)) == 24

for one in (job, "named", "nothing"):
    api.jobs.delete(one)
assert api.jobs.list_all() == []
stranger = freezer.Client(session=session.Session(auth=token_endpoint.Token(url, "wrong")), endpoint=url)
refused(401, stranger.backups.list)
print("all is well")
