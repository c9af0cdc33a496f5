"""Blocks: layers and nets, as trees of children with named parameters."""

from clgrad.gluon.block.base import Block, HookHandle, describe_children, indent
from clgrad.gluon.block.hybrid import HybridBlock
from clgrad.gluon.block.symbol_block import SymbolBlock

__all__ = ["Block", "HookHandle", "HybridBlock", "SymbolBlock", "describe_children", "indent"]
