"""Registry content: blobs, manifests, tags, referrers, upload sessions, garbage collection, fsck."""
