"""Installing and moving in: harbor.yml, configuration files, the offline bundle, migration from Harbor."""
