"""The live page: what an operator's browser is shown of a hub, worked out here.

What is told second by second is in `moments` and `standing`, each push as it happens in `watching`.
`static` is what the browser runs. HTTP is in hub/http/live.py and hub/http/page.py.
"""
