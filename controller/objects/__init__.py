"""What Kubernetes says: objects from files and bytes to frozen values, and what is wrong with them."""
