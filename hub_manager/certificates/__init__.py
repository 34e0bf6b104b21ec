"""The hub's certificate authority for the add-on: policy, issuing and rotation.

`requester` and `policy` check a request, `decision` chooses the next step, `issuing` builds the certificate from the
hub's data, `validator` checks the result, and `authority` plans the rotation; all of these are pure.
`signing_reconciler` and `trust` read the API server and act.
"""
