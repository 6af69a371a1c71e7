;;; slm-lsp-ghost.el --- Suggestions of slm-lsp as ghost text  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the suggestion that is shown behind point, and the request for it.
;;
;; Invariant: what is shown is what accepting inserts, at any time; it is held
;; against the buffer after each command, before the screen is drawn.  While the
;; user types what is shown, no request is sent.  An answer is dropped unless
;; buffer and point are as they were when it was asked for.

;;; Code:

(require 'cl-lib)
(require 'seq)
(require 'slm-lsp-server)
(require 'slm-lsp-document)

(defcustom slm-lsp-idle-delay 0.05
  "Seconds without a key after which a suggestion is asked for.
The server cuts its answers to its own budget; this is only for those
keys that follow each other at once."
  :type 'number
  :group 'slm-lsp)

(defcustom slm-lsp-inhibit-functions nil
  "Functions without arguments that can keep suggestions away.
Where one returns non-nil, no suggestion comes by itself."
  :type 'hook
  :group 'slm-lsp)

(defface slm-lsp-ghost-face '((t :inherit shadow))
  "Face of text that is suggested, but not there."
  :group 'slm-lsp)

(cl-defstruct slm-lsp--item
  "A suggestion: TEXT from START to N-AFTER characters from the end.
RAW is what the server sent, REPLACED what stands behind point before
the end, SHOWN whether the server was told that the item is shown."
  raw text start n-after replaced shown)

(defvar-local slm-lsp--items nil "The suggestions that can be shown, the likeliest first.")
(defvar-local slm-lsp--index 0 "Which of the suggestions is shown.")
(defvar-local slm-lsp--overlay nil "Where the suggestion is shown.")
(defvar-local slm-lsp--ghost-shown nil "Non-nil while a suggestion is shown; its keys are on.")
(defvar-local slm-lsp--asked nil "Whether the suggestions were asked for by hand.")
(defvar-local slm-lsp--pending nil "The request under way: (ID TICK POINT).")
(defvar-local slm-lsp--timer nil "The timer that sends the changes, and asks.")
(defvar-local slm-lsp--tick nil "The buffer's tick at the end of the last command.")

;;; Holding suggestions against the buffer

(defun slm-lsp--item-end (item)
  "Return the end of the text that is replaced by ITEM."
  (- (1+ (buffer-size)) (slm-lsp--item-n-after item)))

(defun slm-lsp--typed (item)
  "Return how much of ITEM's text stands before point, nil where it does not fit."
  (save-restriction
    (widen)
    (let* ((text (slm-lsp--item-text item))
           (n-typed (- (point) (slm-lsp--item-start item)))
           (end (slm-lsp--item-end item)))
      (and (<= 0 n-typed (length text))
           (<= (point) end)
           (string= (slm-lsp--item-replaced item) (buffer-substring-no-properties (point) end))
           (string= (substring text 0 n-typed)
                    (buffer-substring-no-properties (slm-lsp--item-start item) (point)))
           n-typed))))

(defun slm-lsp--rest (item)
  "Return what of ITEM is left to insert at point, nil where it does not fit."
  (let ((n-typed (slm-lsp--typed item)))
    (when (and n-typed (< n-typed (length (slm-lsp--item-text item))))
      (substring (slm-lsp--item-text item) n-typed))))

(defun slm-lsp--take-item (raw)
  "Return the suggestion that the server sent as RAW, nil if it is of no use here."
  (let* ((range (plist-get raw :range))
         (text (plist-get raw :insertText))
         (start (if range (slm-lsp--pos (plist-get range :start)) (point)))
         (end (if range (slm-lsp--pos (plist-get range :end)) (point)))
         (item (when (and (stringp text) (<= start (point) end))
                 (make-slm-lsp--item
                  :raw raw
                  ;; A buffer's lines end in a newline, whatever the file's do.
                  :text (replace-regexp-in-string "\r" "" text t t)
                  :start start
                  :n-after (- (1+ (buffer-size)) end)
                  :replaced (save-restriction
                              (widen)
                              (buffer-substring-no-properties (point) end))))))
    (and item (slm-lsp--rest item) item)))

;;; Drawing

(defun slm-lsp--current ()
  "Return the suggestion that is shown, or nil."
  (and slm-lsp--ghost-shown (nth slm-lsp--index slm-lsp--items)))

(defun slm-lsp--draw (item rest)
  "Show REST, which is left of ITEM, behind point."
  (let ((string (propertize rest 'face 'slm-lsp-ghost-face))
        (end (slm-lsp--item-end item)))
    ;; The cursor stays where point is, before the text.
    (put-text-property 0 1 'cursor t string)
    (unless (overlayp slm-lsp--overlay)
      (setq slm-lsp--overlay (make-overlay (point) (point))))
    (move-overlay slm-lsp--overlay (point) end (current-buffer))
    (overlay-put slm-lsp--overlay 'window (selected-window))
    (overlay-put slm-lsp--overlay 'invisible (< (point) end))
    (overlay-put slm-lsp--overlay 'after-string string)
    (setq slm-lsp--ghost-shown t)
    (unless (slm-lsp--item-shown item)
      (setf (slm-lsp--item-shown item) t)
      (slm-lsp--notify :textDocument/didShowCompletion (list :item (slm-lsp--item-raw item))))))

(defun slm-lsp--hide ()
  "Show nothing, and forget the suggestions."
  (when (overlayp slm-lsp--overlay)
    (delete-overlay slm-lsp--overlay)
    (overlay-put slm-lsp--overlay 'after-string nil))
  (setq slm-lsp--items nil slm-lsp--index 0 slm-lsp--ghost-shown nil slm-lsp--asked nil))

(defun slm-lsp--refresh ()
  "Show what is left of the suggestion, or nothing where it does not fit any more."
  (when slm-lsp--ghost-shown
    (let* ((item (slm-lsp--current))
           (rest (and item
                      (not (region-active-p))
                      (not (slm-lsp--popup-p))
                      (slm-lsp--rest item))))
      (if rest
          (slm-lsp--draw item rest)
        (slm-lsp--hide)))))

(defun slm-lsp--popup-p ()
  "Tell whether a popup of completions is open; no ghost text is shown then."
  (or completion-in-region-mode (bound-and-true-p company-candidates)))

;;; Asking

(defun slm-lsp--give-up ()
  "Cancel the request under way."
  (when slm-lsp--pending
    (slm-lsp--cancel (car slm-lsp--pending))
    (setq slm-lsp--pending nil)))

(defun slm-lsp--schedule ()
  "Send what changed, and ask for a suggestion, once the user pauses."
  (when (timerp slm-lsp--timer)
    (cancel-timer slm-lsp--timer))
  (setq slm-lsp--timer
        (run-with-idle-timer (slm-lsp--pause) nil #'slm-lsp--idle (current-buffer))))

(defun slm-lsp--pause ()
  "Return how long Emacs is to have been idle, from its last key on."
  (let ((idle (current-idle-time)))
    ;; Of a timer that is set while Emacs is idle the time has passed already.
    (if idle (+ (float-time idle) slm-lsp-idle-delay) slm-lsp-idle-delay)))

(defun slm-lsp--idle (buffer)
  "Send what changed in BUFFER, and ask for a suggestion where there is none."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (setq slm-lsp--timer nil)
      (slm-lsp--flush)
      (when (and (not slm-lsp--ghost-shown) (not slm-lsp--pending) (slm-lsp--wanted-p))
        (slm-lsp--ask nil)))))

(defun slm-lsp--wanted-p ()
  "Tell whether a suggestion may come by itself here and now."
  (and slm-lsp--uri
       (slm-lsp--ready-p)
       (eq (current-buffer) (window-buffer (selected-window)))
       (not (equal (plist-get slm-lsp--status :state) "paused"))
       (not buffer-read-only)
       (not (region-active-p))
       (not (slm-lsp--popup-p))
       (not executing-kbd-macro)
       ;; One ghost text is enough.
       (not (bound-and-true-p lsp-inline-completion-mode))
       ;; Evil: suggestions are for who inserts.
       (memq (bound-and-true-p evil-state) '(nil insert emacs))
       (not (run-hook-with-args-until-success 'slm-lsp-inhibit-functions))))

(defun slm-lsp--ask (by-hand &optional on-items)
  "Ask for suggestions at point; BY-HAND, there is more time and choice.
Call ON-ITEMS with what came, instead of showing the first."
  (slm-lsp--give-up)
  (slm-lsp--flush)
  (let* ((buffer (current-buffer))
         (asked (list nil (buffer-chars-modified-tick) (point))))
    (setcar asked
            (slm-lsp--request
             :textDocument/inlineCompletion
             (list :textDocument (list :uri slm-lsp--uri)
                   :position (slm-lsp--position (point))
                   :context (list :triggerKind (if by-hand 1 2)))
             (lambda (result)
               (slm-lsp--answered buffer asked
                                  (lambda () (slm-lsp--answer result by-hand on-items))))
             (lambda (_problem) (slm-lsp--answered buffer asked #'ignore))))
    (setq slm-lsp--pending asked)))

(defun slm-lsp--answered (buffer asked show)
  "Call SHOW in BUFFER, if it is as it was when ASKED was."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (when (eq slm-lsp--pending asked)
        (setq slm-lsp--pending nil)
        (when (and (= (nth 1 asked) (buffer-chars-modified-tick))
                   (= (nth 2 asked) (point))
                   (eq buffer (window-buffer (selected-window)))
                   (not (slm-lsp--popup-p)))
          (funcall show))))))

(defun slm-lsp--answer (result by-hand on-items)
  "Show the first suggestion of RESULT, or call ON-ITEMS with all.
BY-HAND tells whether the user asked for them."
  (let* ((raw (if (vectorp result) result (plist-get result :items)))
         (items (delq nil (mapcar #'slm-lsp--take-item raw))))
    (cond (on-items (funcall on-items items))
          (items (slm-lsp--show items 0 by-hand))
          (by-hand (slm-lsp--hide)
                   (message "slm-lsp: no suggestion; `M-x slm-lsp-why' says why")))))

(defun slm-lsp--show (items index by-hand)
  "Show the suggestion at INDEX of ITEMS.
BY-HAND tells whether the user asked for them."
  (setq slm-lsp--items items slm-lsp--index index slm-lsp--asked by-hand)
  (let ((item (nth index items)))
    (slm-lsp--draw item (slm-lsp--rest item))))

;;; Following the user

(defun slm-lsp--after-insertion ()
  "Follow a typed character before anything else is done about it.
Emacs may draw the screen then, to show the matching parenthesis."
  (slm-lsp--refresh))

(defun slm-lsp--after-command ()
  "Follow what the user did."
  (slm-lsp--refresh)
  (let ((tick (buffer-chars-modified-tick)))
    (when (and slm-lsp--pending
               (not (and (= tick (nth 1 slm-lsp--pending)) (= (point) (nth 2 slm-lsp--pending)))))
      (slm-lsp--give-up))
    (unless (eql tick slm-lsp--tick)
      (setq slm-lsp--tick tick)
      (slm-lsp--schedule))))

(defun slm-lsp--popup-changed (&rest _)
  "Make way for a popup, or come back after it."
  (if (slm-lsp--popup-p)
      (progn (slm-lsp--give-up) (slm-lsp--hide))
    (slm-lsp--schedule)))

(defun slm-lsp--left (window)
  "Show nothing in WINDOW, if the user has left it for another buffer."
  (with-current-buffer (window-buffer window)
    (unless (or (eq (current-buffer) (window-buffer (selected-window)))
                (minibufferp (window-buffer (selected-window))))
      (slm-lsp--give-up)
      (slm-lsp--hide))))

(provide 'slm-lsp-ghost)
;;; slm-lsp-ghost.el ends here
