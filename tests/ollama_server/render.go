// render executes TEMPLATE texts as Ollama does. It reads one JSON request a line and answers each with one line:
// {"text", "vars", "messages"} or {"error", "stage"}, stage being "parse" or "execute".
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
)

type request struct {
	Template   string    `json:"template"`
	ParseOnly  bool      `json:"parse_only"`
	Messages   []message `json:"messages"`
	Tools      toolList  `json:"tools"`
	Prompt     string    `json:"prompt"`
	Suffix     string    `json:"suffix"`
	Think      bool      `json:"think"`
	ThinkLevel string    `json:"think_level"`
	IsThinkSet bool      `json:"is_think_set"`
	// Today stands in for the clock (YYYY-MM-DD) so that a test of dates is the same on every day.
	Today string `json:"today"`
}

type answer struct {
	Text string   `json:"text"`
	Vars []string `json:"vars"`
	// Tags are the texts around `.Thinking` in a range over .Messages, if there are any.
	Tags  []string `json:"thinking_tags,omitempty"`
	Error string   `json:"error,omitempty"`
	Stage string   `json:"stage,omitempty"`
}

var today time.Time

func asJSON(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

var functions = template.FuncMap{
	"json":             asJSON,
	"currentDate":      func(...string) string { return today.Format(time.DateOnly) },
	"yesterdayDate":    func(...string) string { return today.AddDate(0, 0, -1).Format(time.DateOnly) },
	"toTypeScriptType": typeScript,
}

// responseNode is `{{ .Response }}`; a template that names neither .Messages nor .Response gets it at its end.
func responseNode() parse.Node {
	field := &parse.FieldNode{NodeType: parse.NodeField, Ident: []string{"Response"}}
	command := &parse.CommandNode{NodeType: parse.NodeCommand, Args: []parse.Node{field}}
	pipe := &parse.PipeNode{NodeType: parse.NodePipe, Cmds: []*parse.CommandNode{command}}
	return &parse.ActionNode{NodeType: parse.NodeAction, Pipe: pipe}
}

func parseTemplate(text string) (*template.Template, []string, error) {
	parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(text)
	if err != nil {
		return nil, nil, err
	}
	vars := []string{}
	for _, part := range parsed.Templates() {
		if err := identifiers(part.Root, &vars); err != nil {
			return nil, nil, err
		}
	}
	slices.Sort(vars)
	vars = slices.Compact(vars)
	if !slices.Contains(vars, "messages") && !slices.Contains(vars, "response") {
		parsed.Root.Nodes = append(parsed.Root.Nodes, responseNode())
	}
	return parsed, vars, nil
}

// identifiers collects the names of fields and variables in lower case. Chains (`(index .Messages 0).Role`) are
// looked into no further than Ollama does.
func identifiers(node parse.Node, names *[]string) error {
	add := func(ident []string) {
		for _, name := range ident {
			*names = append(*names, strings.ToLower(name))
		}
	}
	branch := func(b *parse.BranchNode) error {
		if err := identifiers(b.Pipe, names); err != nil {
			return err
		}
		for _, list := range []*parse.ListNode{b.List, b.ElseList} {
			if list != nil {
				if err := identifiers(list, names); err != nil {
					return err
				}
			}
		}
		return nil
	}
	switch n := node.(type) {
	case *parse.ListNode:
		for _, child := range n.Nodes {
			if err := identifiers(child, names); err != nil {
				return err
			}
		}
	case *parse.TemplateNode:
		if n.Pipe == nil {
			return errors.New("undefined template specified")
		}
		return identifiers(n.Pipe, names)
	case *parse.ActionNode:
		return identifiers(n.Pipe, names)
	case *parse.IfNode:
		return branch(&n.BranchNode)
	case *parse.RangeNode:
		return branch(&n.BranchNode)
	case *parse.WithNode:
		return branch(&n.BranchNode)
	case *parse.PipeNode:
		for _, command := range n.Cmds {
			for _, arg := range command.Args {
				if err := identifiers(arg, names); err != nil {
					return err
				}
			}
		}
	case *parse.FieldNode:
		add(n.Ident)
	case *parse.VariableNode:
		add(n.Ident)
	}
	return nil
}

func (r *request) values(more map[string]any) map[string]any {
	more["Think"], more["ThinkLevel"], more["IsThinkSet"] = r.Think, r.ThinkLevel, r.IsThinkSet
	return more
}

func execute(parsed *template.Template, vars []string, r *request) (string, error) {
	system, messages := collate(r.Messages)
	var out bytes.Buffer
	if r.Prompt != "" && r.Suffix != "" {
		values := map[string]any{"Prompt": r.Prompt, "Suffix": r.Suffix, "Response": ""}
		return finish(&out, parsed.Execute(&out, r.values(values)))
	}
	if slices.Contains(vars, "messages") {
		values := map[string]any{"System": system, "Messages": messages, "Tools": r.Tools, "Response": ""}
		return finish(&out, parsed.Execute(&out, r.values(values)))
	}
	turn := map[string]any{"System": "", "Prompt": "", "Response": ""}
	flush := func() error {
		err := parsed.Execute(&out, r.values(turn))
		turn = map[string]any{"System": "", "Prompt": "", "Response": ""}
		return err
	}
	for _, m := range messages {
		var err error
		switch m.Role {
		case "system":
			if turn["Prompt"] != "" || turn["Response"] != "" {
				err = flush()
			}
			turn["System"] = m.Content
		case "user":
			if turn["Response"] != "" {
				err = flush()
			}
			turn["Prompt"] = m.Content
		case "assistant":
			turn["Response"] = m.Content
		}
		if err != nil {
			return "", err
		}
	}
	root := parsed.Root.CopyList()
	var cut bool
	cutAfterResponse(root, &cut)
	// As in Ollama, the last turn's tree has neither the functions nor missingkey=zero.
	last, err := template.New("").AddParseTree("", &parse.Tree{Root: root})
	if err != nil {
		return "", err
	}
	return finish(&out, last.Execute(&out, r.values(turn)))
}

func finish(out *bytes.Buffer, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

// cutAfterResponse drops all that follows the first `.Response`, so that the model goes on writing there.
func cutAfterResponse(list *parse.ListNode, cut *bool) {
	kept := list.Nodes[:0]
	for _, node := range list.Nodes {
		if *cut {
			break
		}
		keep := true
		switch n := node.(type) {
		case *parse.IfNode:
			cutBranch(&n.BranchNode, cut)
		case *parse.WithNode:
			cutBranch(&n.BranchNode, cut)
		case *parse.RangeNode:
			cutBranch(&n.BranchNode, cut)
		case *parse.ActionNode:
			keep = cutPipe(n.Pipe, cut)
		}
		if keep {
			kept = append(kept, node)
		}
	}
	list.Nodes = kept
}

func cutBranch(branch *parse.BranchNode, cut *bool) {
	cutAfterResponse(branch.List, cut)
	if branch.ElseList == nil {
		return
	}
	if *cut {
		panic(".Response before an else: Ollama crashes on this template")
	}
	cutAfterResponse(branch.ElseList, cut)
}

func cutPipe(pipe *parse.PipeNode, cut *bool) bool {
	for _, command := range pipe.Cmds {
		var args []parse.Node
		for _, arg := range command.Args {
			if *cut {
				break
			}
			if field, ok := arg.(*parse.FieldNode); ok && slices.Contains(field.Ident, "Response") {
				*cut = true
			}
			if inner, ok := arg.(*parse.PipeNode); ok && !cutPipe(inner, cut) {
				continue
			}
			args = append(args, arg)
		}
		if len(args) == 0 {
			return false
		}
		command.Args = args
	}
	return true
}

func handle(line []byte) (result answer) {
	defer func() {
		if crash := recover(); crash != nil {
			result = answer{Error: fmt.Sprint(crash), Stage: "execute"}
		}
	}()
	var r request
	if err := json.Unmarshal(line, &r); err != nil {
		return answer{Error: err.Error(), Stage: "request"}
	}
	today = time.Now()
	if r.Today != "" {
		today, _ = time.Parse(time.DateOnly, r.Today)
	}
	parsed, vars, err := parseTemplate(r.Template)
	if err != nil {
		return answer{Error: err.Error(), Stage: "parse"}
	}
	if r.ParseOnly {
		return answer{Vars: vars, Tags: thinkingTags(parsed)}
	}
	text, err := execute(parsed, vars, &r)
	if err != nil {
		return answer{Error: err.Error(), Stage: "execute"}
	}
	return answer{Text: text, Vars: vars}
}

func main() {
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	output := bufio.NewWriter(os.Stdout)
	encoder := json.NewEncoder(output)
	encoder.SetEscapeHTML(false)
	for {
		line, err := input.ReadBytes('\n')
		if err != nil {
			return
		}
		if err := encoder.Encode(handle(line)); err != nil {
			return
		}
		// Requests that wait already are answered together: one write for many.
		if input.Buffered() == 0 {
			output.Flush()
		}
	}
}
