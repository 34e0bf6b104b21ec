"""The hub's certificate authority for the add-on: who gets a certificate, what is in it, and how the authority rolls.

`requester` and `policy` judge a request, `decision` says what is to be done with it now, `issuing` builds the
certificate from the hub's facts, `validator` looks at the result again, `authority` keeps the slots; all of these are
pure. `requests` and `trust` read the API server and act.
"""
