"""Own-storage HA: instances with a database and a storage each, kept equal with one another, both ways.

`versions`: the merge rule. `documents`: what is kept equal, by natural keys. `store`: versions of documents
in this instance's database. `wire`: sealed messages. `exchange`: calls between peers. `service`: rounds,
filling, forwarding. See docs/peers.md.
"""
