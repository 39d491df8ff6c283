"""The servers that other tests stand on do what those tests take for granted."""

from __future__ import annotations

import obstore

from tests.support.servers.postgres import PostgresPair
from tests.support.servers.swift import SwiftServer


def test_s3_keeps_objects_over_a_restart(s3_server: SwiftServer) -> None:
    server = SwiftServer()
    try:
        server.start()
        store = server.store(server.bucket())
        obstore.put(store, "a/b", b"hello")
        server.stop()
        server.start()
        assert bytes(obstore.get(store, "a/b").bytes()) == b"hello"
        assert s3_server.url != server.url
    finally:
        server.close()


def test_promoted_replica_has_every_acknowledged_row(postgres_pair: PostgresPair) -> None:
    pair = postgres_pair
    name = pair.database().rsplit("/", 1)[1]
    pair.primary.sql("CREATE TABLE rows (n int)", name)
    for number in range(20):
        pair.primary.sql(f"INSERT INTO rows VALUES ({number})", name)
    pair.primary.kill()
    pair.promote()
    assert pair.primary.sql("SELECT count(*) FROM rows", name) == "20"
    pair.rejoin()
    pair.primary.sql("INSERT INTO rows VALUES (20)", name)
    pair.primary.kill()
    pair.promote()
    assert pair.primary.sql("SELECT count(*) FROM rows", name) == "21"
