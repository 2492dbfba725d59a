"""A model that is products of large matrices and next to nothing else: its utilization is that of the matmul kernel."""
import torch

WIDTH, LAYERS = 8192, 4


class Product(torch.nn.Module):
    def __init__(self, vocab_size=256):
        super().__init__()
        self.rows = torch.nn.Embedding(vocab_size, WIDTH)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS))
        self.head = torch.nn.Linear(WIDTH, vocab_size, bias=False)

    def forward(self, tokens):
        hidden = self.rows(tokens)
        for layer in self.layers:
            hidden = layer(hidden)
        return self.head(hidden)
