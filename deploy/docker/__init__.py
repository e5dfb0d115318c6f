"""The image that runs every role, and what docker-compose.yml puts into the services beside them."""
