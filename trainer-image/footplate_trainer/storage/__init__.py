"""Object storage, as both programs use it: `store` for objects, `fetch` for folders of them."""
