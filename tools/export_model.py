"""Write a trained VoteNet or image network as ONNX or as a program of torch.export, compared with the network."""

from pcfdsl.command_line import run
from pcfdsl.commands.export_model import main

if __name__ == "__main__":
    run(main)
