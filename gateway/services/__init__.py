"""What is not PostgreSQL: outgoing HTTP, encryption, embeddings, webhook signatures."""
