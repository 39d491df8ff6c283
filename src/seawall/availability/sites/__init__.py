"""Active-standby data centers: one site takes writes, the other follows it and can take its place.

`state` what a site is and its transitions, `wire` how sites talk, `ship` what the active hands out, `follow`
the standby's work, `rescue` what an old active had and the new one never got, `witness` the third party,
`service` all of it together.
"""
