package main

import (
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
)

// thinkingTags finds `.Thinking` inside a range over .Messages: the first and the last text of the list around it are
// the tags. Both must be there.
func thinkingTags(parsed *template.Template) []string {
	open, end := "", ""
	var visit func(node parse.Node, inside bool, list *parse.ListNode)
	branch := func(b *parse.BranchNode, inside bool, list *parse.ListNode) {
		visit(b.Pipe, inside, list)
		visit(b.List, inside, list)
		if b.ElseList != nil {
			visit(b.ElseList, inside, list)
		}
	}
	visit = func(node parse.Node, inside bool, list *parse.ListNode) {
		switch n := node.(type) {
		case *parse.ListNode:
			for _, child := range n.Nodes {
				visit(child, inside, n)
			}
		case *parse.RangeNode:
			branch(&n.BranchNode, mentions(n.Pipe, "Messages"), list)
		case *parse.IfNode:
			branch(&n.BranchNode, inside, list)
		case *parse.WithNode:
			branch(&n.BranchNode, inside, list)
		case *parse.ActionNode:
			visit(n.Pipe, inside, list)
		case *parse.PipeNode:
			if n != nil && inside && mentions(n, "Thinking") {
				if text, ok := list.Nodes[0].(*parse.TextNode); ok {
					open = strings.TrimSpace(string(text.Text))
				}
				if text, ok := list.Nodes[len(list.Nodes)-1].(*parse.TextNode); ok {
					end = strings.TrimSpace(string(text.Text))
				}
			}
		}
	}
	visit(parsed.Root, false, parsed.Root)
	if open == "" || end == "" {
		return nil
	}
	return []string{open, end}
}

func mentions(pipe *parse.PipeNode, field string) bool {
	if pipe == nil {
		return false
	}
	for _, command := range pipe.Cmds {
		for _, arg := range command.Args {
			switch a := arg.(type) {
			case *parse.FieldNode:
				if slices.Index(a.Ident, field) == 0 {
					return true
				}
			case *parse.PipeNode:
				if mentions(a, field) {
					return true
				}
			}
		}
	}
	return false
}
