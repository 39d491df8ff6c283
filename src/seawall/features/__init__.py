"""What is added to a registry: each feature has its model, service, tables, jobs and part."""
