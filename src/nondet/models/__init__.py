"""Networks: plain `nn.Module`s, each written for one model, one file per family."""
