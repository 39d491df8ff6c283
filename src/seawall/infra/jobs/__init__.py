"""Durable background jobs, cron schedules, and the outbox that starts jobs from events."""
